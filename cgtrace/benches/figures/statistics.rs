//! Medians and spreads over interleaved rounds.

/// The figures of one mode, one per round.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// Appends another series.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// The mean; NaN if empty.
    pub fn mean(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let count = self.0.len() as f64;
        self.0.iter().sum::<f64>() / count
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The quantile; 0.5 is the median.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        if sorted.is_empty() {
            return f64::NAN;
        }
        let position = share * (sorted.len() - 1) as f64;
        let (low, high) = (position.floor() as usize, position.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (position - low as f64)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Each round's figure over the other's of the same round, which cancels drift of the machine's speed.
    pub fn ratios(&self, base: &Self) -> Self {
        Self(self.0.iter().zip(&base.0).map(|(figure, base)| figure / base).collect())
    }

    /// Each figure over a constant.
    pub fn over(&self, base: f64) -> Self {
        Self(self.0.iter().map(|figure| figure / base).collect())
    }

    /// The quantile of each of ten stretches in order: how much it varies within one run.
    pub fn stretches(&self, share: f64) -> Self {
        let length = self.0.len().div_ceil(10).max(1);
        Self(self.0.chunks(length).map(|stretch| Self(stretch.to_vec()).quantile(share)).collect())
    }
}
