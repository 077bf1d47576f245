//! A few histories in which something of everything happens; `cargo histories` lives through many.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_histories::campaign::live;
use indicatif::ProgressBar;

#[tokio::test(flavor = "multi_thread")]
async fn stock_restic_agrees_with_every_verdict() {
    let result = live(1..13, 4, &ProgressBar::hidden()).await;
    assert!(result.is_clean(), "{result}");
    assert!(result.count.good > 0 && result.count.bad > 0, "both kinds of verdict were there: {result}");
}
