//! Which socket a client opens: the private one of a runtime directory, else the public one.

use anyhow::{Result, ensure};
use cgtrace_client::{Client, Error, ResilientStream, RuntimeDir, tokio as client, wire::Watch};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("clients::the_private_socket_comes_first_and_then_the_public_one", blocking),
        trial("clients::the_same_without_blocking", without_blocking),
    ]
}

/// Only the private socket answers `Verify`.
fn is_private(verified: Result<(), Error>) -> Result<bool> {
    match verified {
        Ok(()) => Ok(true),
        Err(Error::NotPermitted { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn blocking() -> Outcome {
    let daemon = Daemon::start()?;
    let verified = |runtime_dir: RuntimeDir| Client::connect_to(runtime_dir)?.verify().map(drop);
    ensure!(is_private(verified(daemon.runtime_dir()))?, "not the private socket");
    let folder = daemon.public_only()?;
    let public = RuntimeDir::new(folder.path());
    ensure!(!is_private(verified(public.clone()))?, "a private socket where there is none");
    ResilientStream::start_at(public, Watch::default(), None)?;
    let refused = Client::connect_to(RuntimeDir::new("/nonexistent"));
    ensure!(matches!(&refused, Err(Error::Connect { attempts }) if attempts.len() == 2), "{refused:?}");
    Ok(())
}

fn without_blocking() -> Outcome {
    use client::{Client, ResilientStream};
    let daemon = Daemon::start()?;
    let folder = daemon.public_only()?;
    let public = RuntimeDir::new(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let private = Client::connect_to(daemon.runtime_dir()).await?.verify().await.map(drop);
        ensure!(is_private(private)?, "not the private socket");
        let verified = Client::connect_to(public.clone()).await?.verify().await.map(drop);
        ensure!(!is_private(verified)?, "a private socket where there is none");
        ResilientStream::start_at(public, Watch::default(), None).await?;
        let refused = Client::connect_to(RuntimeDir::new("/nonexistent")).await;
        ensure!(matches!(&refused, Err(Error::Connect { attempts }) if attempts.len() == 2), "{refused:?}");
        Ok(())
    })
}
