//! The error of the last call on this thread.

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use cgtrace_client::Error;

pub const ARGUMENT: c_int = -1;
pub const CONNECT: c_int = -2;
pub const CLOSED: c_int = -3;
pub const PROTOCOL: c_int = -4;
pub const PATH: c_int = -5;
pub const UNKNOWN: c_int = -6;
pub const LIMIT: c_int = -7;
pub const PERMISSION: c_int = -8;
pub const UNAVAILABLE: c_int = -9;
pub const OTHER: c_int = -10;
pub const INTERNAL: c_int = -11;

/// A code of the header and its message.
#[derive(Debug, Default)]
pub struct Failure {
    code: c_int,
    message: CString,
}

impl Failure {
    pub fn new(code: c_int, message: &str) -> Self {
        // A NUL would end the message for C.
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        Self { code, message }
    }

    pub fn argument(message: &str) -> Self {
        Self::new(ARGUMENT, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Connect { .. } => CONNECT,
            Error::Io(_) | Error::Closed => CLOSED,
            Error::Message(_) => PROTOCOL,
            Error::InvalidPath(_) => PATH,
            Error::UnknownHierarchy { .. }
            | Error::InvalidPattern { .. }
            | Error::UnknownKind { .. }
            | Error::InvalidState { .. }
            | Error::InvalidTime { .. }
            | Error::NotRecorded { .. }
            | Error::UnknownBoot { .. } => UNKNOWN,
            Error::SeqAhead { .. } => ARGUMENT,
            Error::LimitExceeded { .. } => LIMIT,
            Error::NotPermitted { .. } => PERMISSION,
            Error::Unavailable { .. } => UNAVAILABLE,
            Error::Other { .. } => OTHER,
        };
        Self::new(code, &error.to_string())
    }
}

thread_local! {
    static LAST: RefCell<Failure> = RefCell::default();
}

/// The return type of a function of the header.
pub trait Returned {
    /// The return value on failure.
    fn failed(code: c_int) -> Self;
}

impl Returned for c_int {
    fn failed(code: c_int) -> Self {
        code
    }
}

impl Returned for () {
    fn failed(_: c_int) {}
}

impl<T> Returned for *mut T {
    fn failed(_: c_int) -> Self {
        ptr::null_mut()
    }
}

/// Runs the body of a function and stores its failure or panic for `cgtrace_error_…`.
pub fn guarded<R: Returned>(body: impl FnOnce() -> Result<R, Failure>) -> R {
    // A panic can leave only the caller's handle inconsistent, which must not be used after INTERNAL.
    let outcome = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(Failure::new(INTERNAL, "internal error in libcgtrace: close this handle")));
    let (value, failure) = match outcome {
        Ok(value) => (value, Failure::default()),
        Err(failure) => (R::failed(failure.code), failure),
    };
    LAST.with_borrow_mut(|last| *last = failure);
    value
}

/// See `cgtrace.h`.
#[unsafe(no_mangle)]
pub extern "C" fn cgtrace_error_code() -> c_int {
    LAST.with_borrow(|last| last.code)
}

/// See `cgtrace.h`.
#[unsafe(no_mangle)]
pub extern "C" fn cgtrace_error_message() -> *const c_char {
    LAST.with_borrow(|last| last.message.as_ptr())
}

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"unknown",
};

/// See `cgtrace.h`.
#[unsafe(no_mangle)]
pub extern "C" fn cgtrace_version() -> *const c_char {
    VERSION.as_ptr()
}
