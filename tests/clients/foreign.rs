//! Clients that are not ours: plain Varlink from Python and Go, and the Varlink libraries of `PyPI` and
//! crates.io.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use varlink::{Connection, ErrorKind, MethodCall, OrgVarlinkServiceClient, OrgVarlinkServiceInterface as _};

use super::native::workspace;
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, skip, trial};

/// The version of the package on `PyPI`.
const PYTHON_VARLINK: &str = "31.0.0";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("clients::python_example", python_example),
        trial("clients::go_example", go_example),
        trial("clients::the_python_package_varlink_asks", python_package),
        trial("clients::the_crate_varlink_asks", crate_varlink),
    ]
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("version").stdin(Stdio::null()).output().is_ok()
}

/// exists, wait and watch of an example.
fn example(command: &dyn Fn() -> Command) -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "example")?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    let ask = |arguments: &[&str]| {
        let mut command = command();
        command.args(arguments).env_remove("CGTRACE_SOCKET");
        command.env("CGTRACE_RUNTIME_DIR", daemon.runtime_dir().path());
        command
    };
    let output = ask(&["exists", &cgroup.name()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(0) && text.contains("v2 present"), "{output:?}");
    ensure!(ask(&["exists", &name]).output()?.status.code() == Some(1));
    // By the public socket where there is no other, and by one that is named.
    let public = daemon.public_only()?;
    let by_public = ask(&["exists", &cgroup.name()]).env("CGTRACE_RUNTIME_DIR", public.path()).output()?;
    ensure!(by_public.status.code() == Some(0), "{by_public:?}");
    let mut named = ask(&["exists", &cgroup.name()]);
    named.env("CGTRACE_SOCKET", daemon.socket()).env("CGTRACE_RUNTIME_DIR", "/nonexistent");
    ensure!(named.output()?.status.code() == Some(0), "CGTRACE_SOCKET is not heeded");
    ensure!(ask(&["wait", &name, "0.01"]).output()?.status.code() == Some(1));

    let mut watching =
        ask(&["watch", &cgroup.name(), "2"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut started = String::new();
    BufReader::new(watching.stderr.take().context("no stderr")?).read_line(&mut started)?;
    ensure!(started.starts_with("every event after"), "{started}");
    let waiting = ask(&["wait", &name, "60"]).spawn()?;
    fs::create_dir(&path)?;
    fs::remove_dir(&path)?;
    fs::create_dir(&path)?;
    ensure!(waiting.wait_with_output()?.status.code() == Some(0), "the wait");
    let reply = watching.wait_with_output()?;
    ensure!(reply.status.code() == Some(0), "{reply:?}");
    let events: Vec<Value> =
        String::from_utf8(reply.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    ensure!(kinds == ["mkdir", "rmdir"] && events[0]["path"] == name.as_str(), "{events:?}");

    let output = ask(&["exists", "relative"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && text.contains("InvalidPath"), "{output:?}");
    Ok(())
}

fn python_example() -> Outcome {
    if !is_there("python3") {
        return Err(skip("there is no python3 here"));
    }
    let script = workspace()?.join("docs/protocol/examples/python/cgtrace.py");
    example(&|| {
        let mut command = Command::new("python3");
        command.arg(&script);
        command
    })
}

fn go_example() -> Outcome {
    if !is_there("go") {
        return Err(skip("there is no go here; `apt-get install golang-go` brings it"));
    }
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("cgtrace-go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg("cgtrace.go").env("GOCACHE", folder.path().join("cache"));
    let built =
        build.env("GOFLAGS", "").current_dir(workspace()?.join("docs/protocol/examples/go")).output()?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    example(&|| Command::new(&program))
}

/// A Python that has the package, in a folder of the target folder.
fn python_with_varlink() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-varlink-{PYTHON_VARLINK}"));
    let python = folder.join("bin/python3");
    let has = |python: &Path| {
        let imported = Command::new(python).args(["-c", "import varlink"]).stderr(Stdio::null()).status();
        imported.is_ok_and(|status| status.success())
    };
    if !has(&python) {
        let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output();
        match made {
            Err(_) => return Err(skip("there is no python3 here")),
            Ok(made) if !made.status.success() => {
                return Err(skip("python3 makes no venv here: install python3-venv"));
            }
            Ok(_) => {}
        }
        let package = format!("varlink=={PYTHON_VARLINK}");
        let pip = Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]).output()?;
        if !pip.status.success() {
            return Err(skip(format!("pip: {}", String::from_utf8_lossy(&pip.stderr).trim())));
        }
    }
    ensure!(has(&python), "varlink was installed, and cannot be imported");
    Ok(python)
}

fn python_package() -> Outcome {
    let python = python_with_varlink()?;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "python")?;
    let output = Command::new(python)
        .arg(workspace()?.join("tests/clients/programs/foreign.py"))
        .arg(daemon.socket())
        .arg(cgroup.path())
        .arg(cgroup.name())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.stdout == b"all answered\n", "{output:?}");
    Ok(())
}

fn crate_varlink() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "crate")?;
    let (name, path) = (cgroup.name(), cgroup.join("x"));
    let address = format!("unix:{}", daemon.socket().display());
    let open = || Connection::with_address(&address).map_err(|error| anyhow::anyhow!("{error:?}"));
    let connection = open()?;
    let info = OrgVarlinkServiceClient::new(connection.clone()).get_info();
    let info = info.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(info.interfaces.iter().any(|interface| interface == "io.cgtrace"), "{:?}", info.interfaces);

    let call = |method: &'static str, parameters: Value| {
        MethodCall::<Value, Value, varlink::Error>::new(connection.clone(), method, parameters)
    };
    let looked = call("io.cgtrace.Lookup", json!({ "paths": [name] })).call();
    let looked = looked.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    ensure!(looked["results"][0]["present"] == true, "{looked}");
    match call("io.cgtrace.Lookup", json!({ "paths": ["relative"] })).call() {
        Err(error) => match error.kind() {
            ErrorKind::VarlinkErrorReply(reply) => {
                ensure!(reply.error.as_deref() == Some("io.cgtrace.InvalidPath"), "{reply:?}");
            }
            other => bail!("{other:?}"),
        },
        Ok(reply) => bail!("a relative name was taken: {reply}"),
    }

    let mut watch = MethodCall::<Value, Value, varlink::Error>::new(
        open()?,
        "io.cgtrace.Watch",
        json!({ "patterns": [name], "kinds": ["mkdir"] }),
    );
    let reply = watch.more().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let mut next = || reply.next().context("ended")?.map_err(|error| anyhow::anyhow!("{error:?}"));
    ensure!(next()?["seq"].is_u64());
    fs::create_dir(&path)?;
    let event = next()?;
    ensure!(event["event"]["path"] == cgroup.name_of(&path).as_str(), "{event}");
    Ok(())
}
