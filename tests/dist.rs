//! What `cargo xtask dist` made: installed, used, upgraded, removed, unpacked, read by others' tools.

mod support;

mod dist {
    pub mod deb;
    pub mod documents;
    pub mod image;
    pub mod library;
    pub mod made;
    pub mod rpm;
    pub mod sbom;
}

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        dist::deb::trials(),
        dist::documents::trials(),
        dist::image::trials(),
        dist::library::trials(),
        dist::made::trials(),
        dist::rpm::trials(),
        dist::sbom::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
