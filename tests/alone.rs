//! Tests that need the machine for themselves: they measure silence, or stop the daemon.

mod support;

mod alone {
    pub mod quiet;
    pub mod rate;
    pub mod starved;
}

use libtest_mimic::Arguments;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = [alone::quiet::trials(), alone::rate::trials(), alone::starved::trials()];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
