//! Tests that need the machine to themselves: they measure idle behavior, stop the daemon, or read old
//! events.

mod support;

mod alone {
    pub mod pins;
    pub mod quiet;
    pub mod rate;
    pub mod readme;
    pub mod restart;
    pub mod starved;
}

use libtest_mimic::Arguments;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = [
        alone::pins::trials(),
        alone::quiet::trials(),
        alone::rate::trials(),
        alone::readme::trials(),
        alone::restart::trials(),
        alone::starved::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
