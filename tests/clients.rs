//! Those who ask: the client library, blocking and not, from C, and clients that are not ours.

mod support;

mod clients {
    pub mod endpoint;
    pub mod foreign;
    pub mod native;
    pub mod proxy;
    pub mod resilient;
    pub mod tokio;
}

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        clients::tokio::trials(),
        clients::endpoint::trials(),
        clients::resilient::trials(),
        clients::foreign::trials(),
        clients::native::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
