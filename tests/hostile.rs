//! An unprivileged attacker against the daemon, run as the packaged unit runs it. `docs/user/security.md`
//! lists the test of each promise.

mod support;

mod hostile {
    pub mod attacker;
    pub mod calls;
    pub mod capabilities;
    pub mod changing;
    pub mod configuration;
    pub mod disguise;
    pub mod evidence;
    pub mod files;
    pub mod flood;
    pub mod hung;
    pub mod identities;
    pub mod memory;
    pub mod namespaces;
    pub mod pins;
    pub mod protocol;
    pub mod recording;
    pub mod stage;
    pub mod time;
    pub mod unit;
    pub mod why;
}

use libtest_mimic::Arguments;

fn main() {
    hostile::attacker::run_if_requested();
    let arguments = Arguments::from_args();
    let trials = [
        hostile::capabilities::trials(),
        hostile::changing::trials(),
        hostile::configuration::trials(),
        hostile::evidence::trials(),
        hostile::files::trials(),
        hostile::hung::trials(),
        hostile::identities::trials(),
        hostile::memory::trials(),
        hostile::namespaces::trials(),
        hostile::pins::trials(),
        hostile::protocol::trials(),
        hostile::time::trials(),
        hostile::why::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
