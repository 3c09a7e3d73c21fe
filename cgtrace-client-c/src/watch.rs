//! Streams of events.

use std::ffi::{c_char, c_int};

use cgtrace_client::{Error, ResilientStream, wire::Watch};

use crate::{
    client::{close, endpoint},
    failure::{Failure, guarded},
    text,
};

/// See `cgtrace.h`.
///
/// # Safety
/// The strings are NULL or end with a NUL; the lists are NULL or end with a NULL entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_watch_start(
    socket: *const c_char,
    patterns: *const *const c_char,
    kinds: *const *const c_char,
    hierarchy: *const c_char,
    since_seq: i64,
) -> *mut ResilientStream {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        let (endpoint, patterns, kinds, hierarchy) = unsafe {
            (endpoint(socket), text::list(patterns), text::list(kinds), text::hierarchy(hierarchy))
        };
        let watch = Watch {
            patterns,
            kinds,
            hierarchy,
            since_seq: u64::try_from(since_seq).ok(),
            ..Watch::default()
        };
        Ok(Box::into_raw(Box::new(ResilientStream::start_at(endpoint, watch, None)?)))
    })
}

/// See `cgtrace.h`.
///
/// # Safety
/// `watch` is NULL or as in `cgtrace_watch_stop`; `json` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_watch_next_json(
    watch: *mut ResilientStream,
    timeout_ms: i64,
    json: *mut *mut c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        let stream = unsafe { watch.as_mut() }.ok_or_else(|| Failure::argument("`watch` is NULL"))?;
        if json.is_null() {
            return Err(Failure::argument("`json` is NULL"));
        }
        let item = match text::time(timeout_ms) {
            Some(timeout) => stream.next_timeout(timeout)?,
            None => Some(stream.next().ok_or(Error::Closed)??),
        };
        let Some(item) = item else { return Ok(0) };
        let value = serde_json::to_value(item).map_err(Error::from)?;
        // SAFETY: `json` is not NULL and can be written to, as the caller of this function promises.
        unsafe { text::pass(json, &value) }?;
        Ok(1)
    })
}

/// See `cgtrace.h`.
///
/// # Safety
/// `watch` is NULL or was returned by `cgtrace_watch_start`, was not stopped, and is not in use by another
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_watch_stop(watch: *mut ResilientStream) {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        unsafe { close(watch) };
        Ok(())
    });
}
