//! The promises of the README, tested on the real kernel, one file per promise.

mod support;

mod promises {
    pub mod agreement;
    pub mod columns;
    pub mod completions;
    pub mod configuration;
    pub mod doctor;
    pub mod empty;
    pub mod evidence;
    pub mod faults;
    pub mod hierarchies;
    pub mod history;
    pub mod hostile;
    pub mod lifecycle;
    pub mod linear;
    pub mod machine_clock;
    pub mod membership;
    pub mod messages;
    pub mod metrics;
    pub mod names;
    pub mod no_daemon;
    pub mod patience;
    pub mod privileges;
    pub mod protocol;
    pub mod recorder;
    pub mod rename;
    pub mod resolution;
    pub mod schema;
    pub mod show;
    pub mod snapshot;
    pub mod sockets;
    pub mod start;
    pub mod supervised;
    pub mod surroundings;
    pub mod terminated;
    pub mod top;
    pub mod traps;
    pub mod true_root;
    pub mod waiting;
    pub mod why;
    pub mod witnesses;
}

use libtest_mimic::Arguments;

fn main() {
    support::process::TwoThreads::run_if_requested();
    let arguments = Arguments::from_args();
    let trials = [
        promises::sockets::trials(),
        promises::agreement::trials(),
        promises::columns::trials(),
        promises::completions::trials(),
        promises::configuration::trials(),
        promises::doctor::trials(),
        promises::empty::trials(),
        promises::evidence::trials(),
        promises::faults::trials(),
        promises::hierarchies::trials(),
        promises::history::trials(),
        promises::hostile::trials(),
        promises::lifecycle::trials(),
        promises::linear::trials(),
        promises::machine_clock::trials(),
        promises::membership::trials(),
        promises::messages::trials(),
        promises::metrics::trials(),
        promises::names::trials(),
        promises::no_daemon::trials(),
        promises::patience::trials(),
        promises::privileges::trials(),
        promises::protocol::trials(),
        promises::recorder::trials(),
        promises::rename::trials(),
        promises::resolution::trials(),
        promises::schema::trials(),
        promises::show::trials(),
        promises::snapshot::trials(),
        promises::start::trials(),
        promises::supervised::trials(),
        promises::surroundings::trials(),
        promises::terminated::trials(),
        promises::top::trials(),
        promises::traps::trials(),
        promises::true_root::trials(),
        promises::waiting::trials(),
        promises::why::trials(),
        promises::witnesses::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
