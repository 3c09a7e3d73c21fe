//! Real service managers, runtimes and monitors beside cgtrace, one test at a time.

mod support;

mod lab {
    pub mod attacked;
    pub mod beside;
    pub mod managers;
    pub mod reports {
        pub mod absolutes;
        pub mod advice;
        pub mod first;
        pub mod kubelet;
        pub mod names;
        pub mod remedies;
        pub mod settings;
        pub mod starts;
    }
    pub mod restarts;
    pub mod runtimes;
    pub mod sandbox;
    pub mod service;
    pub mod settings;
    pub mod times;
    pub mod units;
    pub mod waiting;
    pub mod why;
}

use libtest_mimic::Arguments;

fn main() {
    support::process::TwoThreads::run_if_requested();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = [
        lab::attacked::trials(),
        lab::beside::trials(),
        lab::managers::trials(),
        lab::reports::absolutes::trials(),
        lab::reports::advice::trials(),
        lab::reports::first::trials(),
        lab::reports::kubelet::trials(),
        lab::reports::names::trials(),
        lab::reports::remedies::trials(),
        lab::reports::settings::trials(),
        lab::reports::starts::trials(),
        lab::restarts::trials(),
        lab::runtimes::trials(),
        lab::sandbox::trials(),
        lab::service::trials(),
        lab::settings::trials(),
        lab::times::trials(),
        lab::units::trials(),
        lab::waiting::trials(),
        lab::why::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
