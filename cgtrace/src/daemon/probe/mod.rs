//! The kernel's side of cgtrace: loads the kernel program, attaches its hooks, and turns its records into
//! [`Event`](crate::daemon::index::Event)s. Nothing else in cgtrace knows aya.
//!
//! [`Probe::start`] reads the kernel's BTF ([`btf`]), finds where the members lie that the program reads
//! ([`offsets`]), loads the program ([`load`]) and attaches each hook by itself ([`attach`]). From then on
//! [`Records::drain`] takes what the two rings ([`ring`]) hold and decodes it ([`mod@decode`]), and [`Records::arm`]
//! asks the program to wake whoever polls the rings ([`words`]).

mod attach;
mod btf;
mod control;
mod controllers;
mod counters;
mod decode;
mod error;
mod hooks;
mod load;
mod offsets;
mod options;
mod pin;
mod records;
mod ring;
mod tracked;

use std::os::fd::BorrowedFd;

use aya::programs::links::FdLink;
pub use btf::{Btf, BtfError, Member};
use cgtrace_common::Kept;
pub use cgtrace_common::{Kind, Loss, Wake};
pub use controllers::Controllers;
pub use counters::{CountError, Losses, LostRecords, ProgramState};
pub use decode::{DecodeError, decode};
pub use error::StartError;
pub use load::OBJECT;
pub use offsets::MemberError;
pub use options::{Options, TRACKED_COMMS};
pub use pin::{FOLDER as PIN_FOLDER, Folder as PinFolder, PinError};
pub use records::Records;
pub use ring::{Drained, RingUse};
pub use tracked::TrackError;

use crate::daemon::memory;

/// The loaded and attached kernel program. Dropping it detaches and unloads it, unless it is pinned.
pub struct Probe {
    rings: ring::Rings,
    words: control::Control,
    counters: counters::Counters,
    tracked: tracked::TrackedComms,
    controllers: Controllers,
    log: Option<load::Log>,
    kept: control::PinnedControl,
    taken_over: bool,
    /// Keeps others out of the pins.
    _pins: Option<PinFolder>,
    /// Each keeps its program attached.
    _links: Vec<FdLink>,
}

impl Probe {
    /// Loads the kernel program and attaches every hook that this kernel has, or takes over what a daemon before us
    /// pinned. No wakeup is armed at first.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let Some(path) = &options.pin else { return Self::load(options, None) };
        let folder = PinFolder::open_or_make(path)?;
        if folder.has(pin::MARK) {
            return Self::take_over(options, folder);
        }
        // A beginning that was cut short, or nothing.
        folder.clear()?;
        Self::load(options, Some(folder))
    }

    fn load(options: &Options, pins: Option<PinFolder>) -> Result<Self, StartError> {
        let load::Loaded { mut ebpf, btf, controllers, maps, log } = load::load(options, pins.as_ref())?;
        let (links, programs) =
            attach::attach(&mut ebpf, btf.as_ref(), !options.tracked.is_empty(), pins.as_ref())?;
        drop((ebpf, btf));
        let kept = control::PinnedControl::new(&maps.kept)?;
        kept.set(Kept::Build, pin::build_of(OBJECT));
        kept.set(Kept::Programs, pin::fingerprint(&programs));
        kept.set(Kept::Layout, pin::LAYOUT);
        if let Some(folder) = &pins {
            folder.pin(pin::MARK, |path| maps.kept.pin(path))?;
        }
        Self::with(maps, links, programs, controllers, log, kept, pins)
    }

    fn take_over(options: &Options, folder: PinFolder) -> Result<Self, StartError> {
        load::raise_memlock();
        let (_, controllers) = load::read_btf(options)?;
        let wanted = pin::Wanted {
            lifecycle_ring: load::ring_size(options.lifecycle_ring_bytes),
            activity_ring: load::ring_size(options.activity_ring_bytes),
            tracked: &options.tracked,
            build: pin::build_of(OBJECT),
        };
        let pin::TakenOver { maps, programs } = pin::take_over(&folder, &wanted)?;
        let kept = control::PinnedControl::new(&maps.kept)?;
        let probe = Self::with(maps, Vec::new(), programs, controllers, None, kept, Some(folder))?;
        Ok(Self { taken_over: true, ..probe })
    }

    fn with(
        maps: load::Maps,
        links: Vec<FdLink>,
        programs: Vec<counters::Program>,
        controllers: Controllers,
        log: Option<load::Log>,
        kept: control::PinnedControl,
        pins: Option<PinFolder>,
    ) -> Result<Self, StartError> {
        let load::Maps { lifecycle, activity, wake, lost, losses, lost_of, spared, tracked, kept: _ } = maps;
        let rings = ring::Rings::new(lifecycle, activity)?;
        let words = control::Control::new(&wake, &lost)?;
        let counters = counters::Counters::new(losses, lost_of, spared, programs)?;
        memory::give_back();
        Ok(Self {
            rings,
            words,
            counters,
            tracked,
            controllers,
            log,
            kept,
            taken_over: false,
            _pins: pins,
            _links: links,
        })
    }

    /// Whether this took over what a daemon before it had pinned: the rings hold what that one has not read.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.taken_over
    }

    /// The losses that a daemon before this one has dealt with; its execs are not known.
    #[must_use]
    pub fn acknowledged(&self) -> Losses {
        Losses {
            lifecycle: self.kept.get(Kept::LifecycleLost),
            activity: self.kept.get(Kept::ActivityLost),
            execs: 0,
        }
    }

    /// The number of the last change that a daemon before this one told.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.kept.get(Kept::Seq)
    }

    /// The rings' descriptors, for epoll. A wakeup makes them readable; poll them edge-triggered, because
    /// unread records make them readable too, armed or not.
    #[must_use]
    pub fn ring_fds(&self) -> [BorrowedFd<'_>; 2] {
        self.rings.fds()
    }

    /// Tells of the execs of these comms from now on, NUL-padded, and of no others. Without any at the start the exec hook
    /// is not attached, and nothing is told of them.
    ///
    /// # Errors
    ///
    /// There is no room for so many, or the kernel lets this process change no map.
    pub fn watch(&mut self, comms: &[[u8; 16]]) -> Result<(), TrackError> {
        Ok(tracked::set(&mut self.tracked, comms)?)
    }

    /// How many records were lost, by ring and hierarchy.
    pub fn lost_records(&self) -> Result<LostRecords, CountError> {
        self.counters.lost_records()
    }

    /// How the rings are used: the index's, then the other.
    #[must_use]
    pub fn rings(&self) -> [RingUse; 2] {
        self.rings.uses()
    }

    /// The state of each hook's program.
    #[must_use]
    pub fn programs(&self) -> Vec<ProgramState> {
        self.counters.programs()
    }

    /// The kernel's controllers.
    #[must_use]
    pub fn controllers(&self) -> &Controllers {
        &self.controllers
    }
}
