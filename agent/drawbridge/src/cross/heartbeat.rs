use std::time::Duration;

use drawbridge_wire::{Report, ReportAnswer, RunId};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::CrossError;
use crate::cloud::Cloud;

/// Tells the stack again and again that the crossing goes on, three times within the silence that it would bear. Returns when that is
/// no use any more, and why.
pub async fn beat(cloud: &Cloud, run: &RunId, longest_silence: Duration) -> CrossError {
    let mut ticks = interval((longest_silence / 3).max(Duration::from_millis(200)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        ticks.tick().await;
        match cloud.report(run, Report::Heartbeat).await {
            Ok(ReportAnswer::Accepted) => heard = Instant::now(),
            Ok(ReportAnswer::Closed) => return CrossError::Closed,
            Err(error) => {
                let silence = heard.elapsed();
                if silence > longest_silence || !error.may_pass() {
                    return CrossError::Unheard { silence, source: Box::new(error) };
                }
                tracing::info!(%run, %error, "a heartbeat did not get through");
            }
        }
    }
}
