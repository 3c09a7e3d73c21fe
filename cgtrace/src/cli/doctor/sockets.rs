//! The sockets of the daemon, and whether the caller may connect to them.

use std::path::PathBuf;

use cgtrace_client::{Endpoint, RuntimeDir, wire::Check};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};

use super::{START, fail, ok, reason, warn};

/// The facts about the sockets.
#[derive(Debug)]
pub struct SocketFacts(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    name: &'static str,
    path: PathBuf,
    /// Why it does not accept a connection.
    refused: Option<Errno>,
}

impl SocketFacts {
    pub fn gather(endpoint: &Endpoint) -> Self {
        let sockets = match endpoint {
            Endpoint::Socket(path) => vec![("chosen", path.clone())],
            Endpoint::RuntimeDir(folder) => {
                vec![("private", RuntimeDir::private(folder)), ("public", RuntimeDir::public(folder))]
            }
        };
        let tried = |(name, path): (&'static str, PathBuf)| {
            let refused = try_to_connect(&path).err();
            Socket { name, path, refused }
        };
        Self(sockets.into_iter().map(tried).collect())
    }
}

/// Connects, without waiting if the queue of a daemon that is stopped is full.
fn try_to_connect(path: &PathBuf) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&stream, &address) {
        Err(Errno::AGAIN) => Ok(()),
        other => other,
    }
}

pub fn checks(SocketFacts(sockets): &SocketFacts) -> Vec<Check> {
    let any = sockets.iter().any(|socket| socket.refused.is_none());
    sockets.iter().map(|socket| check(socket, any)).collect()
}

fn check(Socket { name, path, refused }: &Socket, any: bool) -> Check {
    let path = path.display();
    let Some(refused) = *refused else {
        return ok("sockets", format!("{name}: {path}"));
    };
    let text = format!("{name}: {path}: {}", reason(&refused.into()));
    let next = match refused {
        Errno::ACCESS | Errno::PERM if any => {
            return warn(
                "sockets",
                text,
                "answers do not say who did what; run as root, or join the group cgtrace",
            );
        }
        Errno::ACCESS | Errno::PERM => "run as root, or join the group cgtrace",
        Errno::AFNOSUPPORT => {
            "this process may not use Unix sockets; its unit needs RestrictAddressFamilies=AF_UNIX, as in \
             /usr/share/cgtrace/client.conf"
        }
        Errno::NAMETOOLONG | Errno::INVAL => "choose a shorter path",
        _ => START,
    };
    if any { warn("sockets", text, next) } else { fail("sockets", text, next) }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::CheckResult::{Fail, Ok, Warn};

    use super::*;

    #[test]
    fn one_socket_suffices() {
        let socket = |name, refused| Socket { name, path: "/run/x".into(), refused };
        for (private, public, expected) in [
            (None, None, [Ok, Ok]),
            (Some(Errno::ACCESS), None, [Warn, Ok]),
            (None, Some(Errno::NOENT), [Ok, Warn]),
            (Some(Errno::NOENT), Some(Errno::NOENT), [Fail, Fail]),
            (Some(Errno::ACCESS), Some(Errno::CONNREFUSED), [Fail, Fail]),
        ] {
            let checks = checks(&SocketFacts(vec![socket("private", private), socket("public", public)]));
            assert_eq!(checks.iter().map(|check| check.result).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_missing_socket_is_found() {
        let facts = SocketFacts::gather(&Endpoint::Socket("/nonexistent/io.cgtrace".into()));
        assert_eq!(facts.0[0].refused, Some(Errno::NOENT));
    }
}
