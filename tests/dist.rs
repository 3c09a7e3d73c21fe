//! The packages of `cargo xtask dist`: installed, used, upgraded, removed, unpacked, and read by the usual
//! tools.

mod support;

mod dist {
    pub mod deb;
    pub mod documents;
    pub mod image;
    pub mod library;
    pub mod lint;
    pub mod packages;
    pub mod rpm;
    pub mod sbom;
    pub mod upgraded;
}

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        dist::deb::trials(),
        dist::documents::trials(),
        dist::image::trials(),
        dist::library::trials(),
        dist::lint::trials(),
        dist::packages::trials(),
        dist::rpm::trials(),
        dist::sbom::trials(),
        dist::upgraded::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
