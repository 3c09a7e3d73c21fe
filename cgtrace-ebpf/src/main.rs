//! cgtrace's kernel program: a short raw tracepoint program for each hook. The most expensive hooks have a
//! second program that uses typed loads ([`typed`]), for kernels that accept it.
//!
//! Each hook reads the kernel's structures ([`read`]) and fills a record of `cgtrace-common`; [`emit`] writes
//! it to its ring and wakes the daemon if the wakeup is armed.
//!
//! Only helpers of Linux 5.8 (which added the ring buffer) are used, and only loops that the verifier of 5.10
//! can bound.
#![no_std]
#![no_main]

mod emit;
mod lifecycle;
mod maps;
mod membership;
mod offsets;
mod process;
mod read;
mod root;
mod state;
mod typed;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// `bpf_probe_read_kernel` and the ring buffer are available to GPL-compatible programs only
/// (`license_is_gpl_compatible` in include/linux/license.h lists this license).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
