//! Those who ask: the client library, blocking and not, from C, and clients that are not ours.

mod support;

mod clients {
    pub mod asynchronous;
    pub mod endpoint;
    pub mod following;
    pub mod foreign;
    pub mod native;
    pub mod proxy;
}

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        clients::asynchronous::trials(),
        clients::endpoint::trials(),
        clients::following::trials(),
        clients::foreign::trials(),
        clients::native::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
