//! The client that does not block, on tokio's runtime of one thread.

use std::{fs, future::Future, pin::pin, time::Duration};

use anyhow::{Context as _, bail, ensure};
use cgtrace_client::{
    CgroupState, ResilientItem,
    tokio::{Client, ResilientStream},
    wire,
};
use libtest_mimic::Trial;
use tokio::time::timeout;

use super::{proxy::Proxy, resilient::watch};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, trial};

const PATIENCE: Duration = Duration::from_mins(1);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("clients::async_asks_and_waits", asks),
        trial("clients::async_calls_can_be_given_up", given_up),
        trial("clients::async_following_resumes", resumes),
    ]
}

fn on_tokio<F: Future<Output = Outcome>>(future: F) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn asks() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "async")?;
    let (path, name) = (cgroup.join("x"), cgroup.name_of(&cgroup.join("x")));
    on_tokio(async {
        let mut client = Client::connect_to(daemon.socket()).await?;
        ensure!(client.exists(&cgroup.name()).await? && !client.exists(&name).await?);
        let mut waiter = Client::connect_to(daemon.socket()).await?;
        let wait = async { anyhow::Ok(waiter.wait(&name, CgroupState::Present, Some(PATIENCE)).await?) };
        let make = async {
            while client.status().await?.waiters == 0 {}
            anyhow::Ok(fs::create_dir(&path)?)
        };
        let (waited, ()) = tokio::try_join!(wait, make)?;
        ensure!(waited.reached && waited.result.present, "{waited:?}");
        let list = wire::List { patterns: Some(vec![cgroup.name()]), ..Default::default() };
        let cgroups = client.list(&list).await?.all().await?;
        ensure!(cgroups.len() == 2, "{cgroups:?}");
        // More than one reply: the whole of it comes, and nothing of it is left for the next call.
        for number in 0..1_200 {
            fs::create_dir(path.join(number.to_string()))?;
        }
        ensure!(client.list(&list).await?.all().await?.len() == 1_202);
        ensure!(client.exists(&name).await?);
        let history = wire::History { paths: Some(vec![cgroup.name()]), ..Default::default() };
        ensure!(client.history(&history).await?.moves.is_empty());
        let error = client.exists("relative").await.err().context("no error")?;
        ensure!(matches!(error, cgtrace_client::Error::InvalidPath(_)), "{error}");
        Ok(())
    })
}

fn given_up() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "given-up")?;
    let never = format!("{}/never", cgroup.name());
    on_tokio(async {
        let mut client = Client::connect_to(daemon.socket()).await?;
        let list = wire::List::default();
        let mut given_up = 0;
        for _ in 0..50 {
            // Polled once, or little more: sent, or half sent, and its answer not taken.
            let waiting = client.wait(&never, CgroupState::Present, Some(Duration::from_millis(20)));
            given_up += u32::from(timeout(Duration::ZERO, waiting).await.is_err());
            let listing = async { client.list(&list).await?.all().await };
            given_up += u32::from(timeout(Duration::ZERO, listing).await.is_err());
            ensure!(client.exists(&cgroup.name()).await?);
            ensure!(!client.exists(&never).await?);
        }
        ensure!(given_up > 0, "no call was given up");
        Ok(())
    })
}

fn resumes() -> Outcome {
    let daemon = Daemon::start()?;
    let proxy = Proxy::start(&daemon)?;
    let cgroup = Cgroup::new("v2", "async-resumes")?;
    on_tokio(async {
        let mut following = ResilientStream::start_at(proxy.socket(), watch(&cgroup.name()), None).await?;
        ensure!(matches!(following.next().await, Some(Ok(ResilientItem::Started { .. }))));
        for round in 0..20 {
            // Given up while it waits: nothing is lost by it.
            ensure!(timeout(Duration::ZERO, following.next()).await.is_err(), "nothing happened yet");
            let path = cgroup.join(round.to_string());
            proxy.cut();
            fs::create_dir(&path)?;
            match timeout(PATIENCE, following.next()).await?.context("ended")?? {
                ResilientItem::Resumed { .. } => {}
                item => bail!("expected the resumption, got {item:?}"),
            }
            match timeout(PATIENCE, following.next()).await?.context("ended")?? {
                ResilientItem::Event(event) => {
                    ensure!(event.path == Some(cgroup.name_of(&path)), "{event:?}");
                }
                item => bail!("expected the event, got {item:?}"),
            }
        }
        // As a stream, too.
        fs::create_dir(cgroup.join("last"))?;
        let mut stream = pin!(following.into_stream());
        let next = std::future::poll_fn(|context| futures_core::Stream::poll_next(stream.as_mut(), context));
        let item = timeout(PATIENCE, next).await?.context("ended")??;
        ensure!(matches!(item, ResilientItem::Event(_)), "{item:?}");
        Ok(())
    })
}
