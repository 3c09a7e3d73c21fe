//! What can be waited for.

/// A state to wait for.
///
/// ```
/// assert_eq!(cgtrace_client::Until::default().word(), "present");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// The cgroup exists.
    #[default]
    Present,
    /// It does not exist.
    Absent,
    /// A process is in it or below it.
    Populated,
    /// None is. A cgroup that does not exist is empty.
    Empty,
}

impl Until {
    /// Every state.
    ///
    /// ```
    /// let words = cgtrace_client::Until::ALL.map(|until| until.word());
    /// assert_eq!(words, ["present", "absent", "populated", "empty"]);
    /// ```
    pub const ALL: [Self; 4] = [Self::Present, Self::Absent, Self::Populated, Self::Empty];

    /// The wire's word for it.
    ///
    /// ```
    /// assert_eq!(cgtrace_client::Until::Absent.word(), "absent");
    /// ```
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Populated => "populated",
            Self::Empty => "empty",
        }
    }
}
