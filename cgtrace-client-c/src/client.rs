//! Calls.

use std::{
    ffi::{OsStr, c_char, c_int},
    os::unix::ffi::OsStrExt as _,
};

use cgtrace_client::{
    CgroupState, Client, Endpoint,
    wire::{Lookup, PathResult, Wait},
};

use crate::{
    failure::{Failure, guarded},
    text,
};

/// The socket, or the endpoint of the environment for NULL.
///
/// # Safety
/// As [`text::optional`].
pub unsafe fn endpoint(socket: *const c_char) -> Endpoint {
    // SAFETY: as the caller of this function promises.
    unsafe { text::optional(socket) }.map_or_else(Endpoint::from_env, |socket| {
        Endpoint::Socket(OsStr::from_bytes(socket.to_bytes()).into())
    })
}

/// See `cgtrace.h`.
///
/// # Safety
/// `socket` is NULL or a string that ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_connect(socket: *const c_char) -> *mut Client {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        let endpoint = unsafe { endpoint(socket) };
        Ok(Box::into_raw(Box::new(Client::connect_to(endpoint)?)))
    })
}

/// See `cgtrace.h`.
///
/// # Safety
/// `client` is NULL or was returned by `cgtrace_connect`, was not closed, and is not in use by another
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_close(client: *mut Client) {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        unsafe { close(client) };
        Ok(())
    });
}

/// See `cgtrace.h`.
///
/// # Safety
/// `client` as in `cgtrace_close`; the strings are NULL or end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_exists(
    client: *mut Client,
    path: *const c_char,
    hierarchy: *const c_char,
) -> c_int {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        let result = unsafe { lookup(client, path, hierarchy, false) }?;
        Ok(c_int::from(result.present))
    })
}

/// See `cgtrace.h`.
///
/// # Safety
/// `client` as in `cgtrace_close`; the strings are NULL or end with a NUL; `json` is NULL or can be written
/// to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_lookup_json(
    client: *mut Client,
    path: *const c_char,
    hierarchy: *const c_char,
    json: *mut *mut c_char,
) -> c_int {
    guarded(|| {
        if json.is_null() {
            return Err(Failure::argument("`json` is NULL"));
        }
        // SAFETY: as the caller of this function promises.
        let result = unsafe { lookup(client, path, hierarchy, true) }?;
        let value = serde_json::to_value(result).map_err(cgtrace_client::Error::from)?;
        // SAFETY: `json` is not NULL and can be written to, as the caller of this function promises.
        unsafe { text::pass(json, &value) }?;
        Ok(0)
    })
}

/// See `cgtrace.h`.
///
/// # Safety
/// `client` as in `cgtrace_close`; the strings are NULL or end with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cgtrace_wait(
    client: *mut Client,
    path: *const c_char,
    state: c_int,
    hierarchy: *const c_char,
    timeout_ms: i64,
) -> c_int {
    guarded(|| {
        // SAFETY: as the caller of this function promises.
        let (client, path, hierarchy) =
            unsafe { (self::client(client)?, text::path(path)?, text::hierarchy(hierarchy)) };
        let state = usize::try_from(state)
            .ok()
            .and_then(|state| CgroupState::ALL.get(state).copied())
            .ok_or_else(|| Failure::argument("invalid `state`; expected CGTRACE_PRESENT to CGTRACE_EMPTY"))?;
        let wait = Wait { hierarchy, ..Wait::new(&path, state, text::time(timeout_ms)) };
        Ok(c_int::from(client.wait_with(&wait)?.reached))
    })
}

/// # Safety
/// `handle` is NULL or came from `Box::into_raw`, and is not used afterwards.
pub unsafe fn close<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: as the caller of this function promises.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// # Safety
/// `client` as in `cgtrace_close`, for as long as `'a`.
unsafe fn client<'a>(client: *mut Client) -> Result<&'a mut Client, Failure> {
    // SAFETY: as the caller of this function promises.
    unsafe { client.as_mut() }.ok_or_else(|| Failure::argument("`client` is NULL"))
}

/// # Safety
/// As `cgtrace_exists`.
unsafe fn lookup(
    client: *mut Client,
    path: *const c_char,
    hierarchy: *const c_char,
    previous: bool,
) -> Result<PathResult, Failure> {
    // SAFETY: as the caller of this function promises.
    let (client, path, hierarchy) =
        unsafe { (self::client(client)?, text::path(path)?, text::hierarchy(hierarchy)) };
    let lookup = Lookup { paths: vec![path], hierarchy, previous: Some(previous), ..Lookup::default() };
    let result = client.lookup_with(&lookup)?.results.into_iter().next();
    result.ok_or_else(|| Failure::new(crate::failure::PROTOCOL, "the reply has no result for the path"))
}
