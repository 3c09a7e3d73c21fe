//! What the allocator keeps of memory that was freed.

/// Gives memory back to the system that is not used again: reading the BTF takes tens of megabytes, and a walk as much
/// as the index that is made of it. Takes a millisecond or so for each ten megabytes.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
