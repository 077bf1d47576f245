use std::time::Duration;

/// How often to look for something that EC2 may not show yet. EC2 is eventually consistent: what was launched a moment
/// ago can be invisible for some seconds.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// Looks in all, the first one included.
    pub count: u32,
    /// The pause before each look but the first.
    pub pause: Duration,
}

impl Looks {
    /// Waits before look number `look`, counted from 0; false when there are no more looks.
    pub async fn again(&self, look: u32) -> bool {
        if look >= self.count {
            return false;
        }
        if look > 0 && !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        true
    }
}
