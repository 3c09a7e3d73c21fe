//! What can be waited for.

/// A state to wait for.
///
/// ```
/// assert_eq!(cgtrace_client::CgroupState::default().as_str(), "present");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupState {
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

impl CgroupState {
    /// Every state.
    ///
    /// ```
    /// let words = cgtrace_client::CgroupState::ALL.map(|until| until.as_str());
    /// assert_eq!(words, ["present", "absent", "populated", "empty"]);
    /// ```
    pub const ALL: [Self; 4] = [Self::Present, Self::Absent, Self::Populated, Self::Empty];

    /// The wire's word for it.
    ///
    /// ```
    /// assert_eq!(cgtrace_client::CgroupState::Absent.as_str(), "absent");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Populated => "populated",
            Self::Empty => "empty",
        }
    }
}
