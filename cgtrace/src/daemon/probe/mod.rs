//! Loads the kernel program, attaches its hooks, and decodes its records into
//! [`Event`](crate::daemon::index::Event)s. This is the only module that uses aya.
//!
//! [`Probe::start`] reads the kernel's BTF ([`btf`]), finds the offsets of the members that the program reads
//! ([`offsets`]), loads the program ([`load`]) and attaches each hook separately ([`attach`]). Then
//! [`Records::drain`] reads the two rings ([`ring`]) and decodes their records ([`mod@decode`]), and
//! [`Records::arm`] makes the program wake the thread that polls the rings ([`control`]).

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
pub use btf::{Btf, BtfError, StructMember};
use cgtrace_common::Persisted;
pub use cgtrace_common::{Kind, Loss, Wake};
pub use controllers::Controllers;
pub use counters::{CountError, Losses, LostRecords, ProgramState};
pub use decode::{DecodeError, decode};
pub use error::ProbeStartError;
pub use hooks::{NOT_TRACKED, tracepoints};
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
    control: control::Control,
    counters: counters::Counters,
    tracked: tracked::TrackedComms,
    controllers: Controllers,
    log: Option<load::Log>,
    persisted: control::PersistedControl,
    taken_over: bool,
    /// Holds the lock on the pins.
    _pins: Option<PinFolder>,
    /// Each keeps its program attached.
    _links: Vec<FdLink>,
}

impl Probe {
    /// Loads the kernel program and attaches every hook that this kernel has, or takes over the pins of a
    /// previous daemon. No wakeup is armed at first.
    pub fn start(options: &Options) -> Result<Self, ProbeStartError> {
        let Some(path) = &options.pin else { return Self::load(options, None) };
        let folder = PinFolder::open_or_create(path)?;
        if folder.has(pin::MARK) {
            return Self::take_over(options, folder);
        }
        // The folder is empty, or an earlier start was interrupted.
        folder.clear()?;
        Self::load(options, Some(folder))
    }

    fn load(options: &Options, pins: Option<PinFolder>) -> Result<Self, ProbeStartError> {
        let load::LoadedObject { mut ebpf, btf, controllers, maps, log } =
            load::load(options, pins.as_ref())?;
        let (links, programs) =
            attach::attach(&mut ebpf, btf.as_ref(), !options.tracked.is_empty(), pins.as_ref())?;
        drop((ebpf, btf));
        let persisted = control::PersistedControl::new(&maps.persisted)?;
        persisted.set(Persisted::Build, pin::build_of(OBJECT));
        persisted.set(Persisted::Programs, pin::fingerprint(&programs));
        persisted.set(Persisted::Layout, pin::LAYOUT);
        if let Some(folder) = &pins {
            folder.pin(pin::MARK, |path| maps.persisted.pin(path))?;
        }
        Self::with(maps, links, programs, controllers, log, persisted, pins)
    }

    fn take_over(options: &Options, folder: PinFolder) -> Result<Self, ProbeStartError> {
        load::raise_memlock();
        let (_, controllers) = load::read_btf(options)?;
        let expected = pin::Expected {
            lifecycle_ring: load::ring_size(options.lifecycle_ring_bytes),
            activity_ring: load::ring_size(options.activity_ring_bytes),
            tracked: &options.tracked,
            build: pin::build_of(OBJECT),
        };
        let pin::TakenOver { maps, programs } = pin::take_over(&folder, &expected)?;
        let persisted = control::PersistedControl::new(&maps.persisted)?;
        let probe = Self::with(maps, Vec::new(), programs, controllers, None, persisted, Some(folder))?;
        Ok(Self { taken_over: true, ..probe })
    }

    fn with(
        maps: load::Maps,
        links: Vec<FdLink>,
        programs: Vec<counters::Program>,
        controllers: Controllers,
        log: Option<load::Log>,
        persisted: control::PersistedControl,
        pins: Option<PinFolder>,
    ) -> Result<Self, ProbeStartError> {
        let load::Maps { lifecycle, activity, wake, lost, losses, lost_of, recovered, tracked, persisted: _ } =
            maps;
        let rings = ring::Rings::new(lifecycle, activity)?;
        let control = control::Control::new(&wake, &lost)?;
        let counters = counters::Counters::new(losses, lost_of, recovered, programs)?;
        memory::give_back();
        Ok(Self {
            rings,
            control,
            counters,
            tracked,
            controllers,
            log,
            persisted,
            taken_over: false,
            _pins: pins,
            _links: links,
        })
    }

    /// Whether the pins of a previous daemon were taken over: the rings contain the records that it did not
    /// read.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.taken_over
    }

    /// The losses that a previous daemon acknowledged; `execs` is unknown.
    #[must_use]
    pub fn acknowledged(&self) -> Losses {
        Losses {
            lifecycle: self.persisted.get(Persisted::LifecycleLost),
            activity: self.persisted.get(Persisted::ActivityLost),
            execs: 0,
        }
    }

    /// The sequence number of the previous daemon's last event.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.persisted.get(Persisted::Seq)
    }

    /// The rings' file descriptors, for epoll. A wakeup makes them readable; use edge triggering, because
    /// unread records make them readable too, whether or not the wakeup is armed.
    #[must_use]
    pub fn ring_fds(&self) -> [BorrowedFd<'_>; 2] {
        self.rings.fds()
    }

    /// Replaces the tracked comms (NUL-padded), whose execs are recorded. If no comm was tracked at the
    /// start, the exec hook is not attached, and no exec is recorded.
    ///
    /// # Errors
    ///
    /// The map is too small for the comms, or the kernel does not permit this process to change maps.
    pub fn track(&mut self, comms: &[[u8; 16]]) -> Result<(), TrackError> {
        Ok(tracked::set(&mut self.tracked, comms)?)
    }

    /// How many records were lost, by ring and hierarchy.
    pub fn lost_records(&self) -> Result<LostRecords, CountError> {
        self.counters.lost_records()
    }

    /// Usage of the lifecycle ring and the activity ring.
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
