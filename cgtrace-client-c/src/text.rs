//! Strings between C and Rust.

use std::{
    ffi::{CStr, CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use cgtrace_client::paths;
use serde_json::Value;

use crate::failure::{Failure, INTERNAL};

/// An optional string.
///
/// # Safety
/// `string` is NULL or a string that ends with a NUL, which outlives `'a`.
pub unsafe fn optional<'a>(string: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as the caller of this function promises.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) })
}

/// A path, encoded for the wire.
///
/// # Safety
/// As [`optional`].
pub unsafe fn path(string: *const c_char) -> Result<String, Failure> {
    // SAFETY: as the caller of this function promises.
    let path = unsafe { optional(string) }.ok_or_else(|| Failure::argument("`path` is NULL"))?;
    Ok(paths::to_wire(path.to_bytes()))
}

/// A hierarchy's name, or none.
///
/// # Safety
/// As [`optional`].
pub unsafe fn hierarchy(string: *const c_char) -> Option<String> {
    // SAFETY: as the caller of this function promises.
    unsafe { optional(string) }.map(|name| name.to_string_lossy().into_owned())
}

/// A list of strings, or none.
///
/// # Safety
/// `list` is NULL or ends with a NULL entry; each entry before it is as in [`optional`].
pub unsafe fn list(mut list: *const *const c_char) -> Option<Vec<String>> {
    if list.is_null() {
        return None;
    }
    let mut strings = Vec::new();
    // SAFETY: each entry up to the NULL is readable, as the caller of this function promises.
    while let Some(string) = unsafe { optional(*list) } {
        strings.push(paths::to_wire(string.to_bytes()));
        // SAFETY: the entry was not the NULL at the end, so another one follows.
        list = unsafe { list.add(1) };
    }
    Some(strings)
}

/// A time in milliseconds; negative: none.
pub fn time(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// Passes JSON text to the caller.
///
/// # Safety
/// `json` can be written to; it is not NULL.
pub unsafe fn pass(json: *mut *mut c_char, value: &Value) -> Result<(), Failure> {
    let text =
        CString::new(value.to_string()).map_err(|_| Failure::new(INTERNAL, "JSON text contains a NUL"))?;
    // SAFETY: as the caller of this function promises.
    unsafe { json.write(text.into_raw()) };
    Ok(())
}

/// See `cgtrace.h`.
///
/// # Safety
/// `string` is NULL or was returned by this library, and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_free(string: *mut c_char) {
    let _ = catch_unwind(AssertUnwindSafe(|| {
        if !string.is_null() {
            // SAFETY: it came from `CString::into_raw` in `pass`, as the caller of this function promises.
            drop(unsafe { CString::from_raw(string) });
        }
    }));
}
