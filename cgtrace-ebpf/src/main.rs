//! cgtrace's kernel program: a raw tracepoint for each hook, short, and total over whatever it reads. The hooks that
//! cost most have a second program that reads by types ([`typed`]), for kernels that take it.
//!
//! The way of a record: the hook's file reads what the kernel passed ([`read`]), fills a record of
//! `cgtrace-common`, and [`emit`] puts it into its ring and, if the daemon has armed it, wakes the daemon.
//!
//! Only helpers of Linux 5.8 are used (the ring buffer's own version), and no loop that 5.10's verifier could
//! not bound.
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

/// The kernel lends `bpf_probe_read_kernel` and the ring buffer to GPL-compatible programs only
/// (`license_is_gpl_compatible` in include/linux/license.h lists this one).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
