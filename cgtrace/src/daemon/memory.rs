//! Memory that the allocator retains after it was freed.

/// Returns freed memory to the system: parsing BTF uses tens of megabytes, and a scan as much as the index
/// built from it. Takes about a millisecond per ten megabytes.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
