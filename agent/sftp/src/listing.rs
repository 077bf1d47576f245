//! The entries of a folder.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::SftpError;
use crate::session::Sftp;
use crate::shared::OpenHandle;
use crate::wire::{Entry, Reply, Request, code};

/// How many parts of one listing are asked for at once. OpenSSH answers each with 100 entries.
const PARTS_AHEAD: usize = 8;

/// A folder that is being listed. Dropping it closes it.
///
/// Invariants: while the end hasn't been seen, the handle is there; the first part that is under way needs no permit, so
/// that no listing waits for another.
pub struct Listing {
    sftp: Sftp,
    handle: Option<OpenHandle>,
    under_way: VecDeque<Part>,
    failed: bool,
}

struct Part {
    answer: oneshot::Receiver<Reply>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Listing {
    pub(crate) fn new(sftp: Sftp, handle: OpenHandle) -> Self {
        let mut listing = Self { sftp, handle: Some(handle), under_way: VecDeque::new(), failed: false };
        // Fails only with the session; `next` meets that again.
        let _over = listing.ask_ahead(0);
        listing
    }

    /// The next entries, in the host's order, `.` and `..` as they come; `None` after the last.
    /// May be dropped and called again without losing entries.
    ///
    /// # Errors
    /// When the host refuses to go on, and when the session is over. The listing is then of no more use.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, SftpError> {
        if self.failed {
            return Err(SftpError::earlier());
        }
        let next = self.next_part().await;
        if next.is_err() {
            self.failed = true;
            self.under_way.clear();
            self.handle = None;
        }
        next
    }

    async fn next_part(&mut self) -> Result<Option<Vec<Entry>>, SftpError> {
        loop {
            self.ask_ahead(0)?;
            let Some(part) = self.under_way.front_mut() else {
                if self.handle.is_none() {
                    return Ok(None);
                }
                self.sftp.shared().slot().await?;
                self.ask_ahead(1)?;
                continue;
            };
            let reply = self.sftp.shared().wait(&mut part.answer).await?;
            self.under_way.pop_front();
            match reply {
                Reply::Names(names) => {
                    self.ask_ahead(0)?;
                    return names.entries().map(Some).map_err(|what| self.sftp.shared().misbehaves(what));
                }
                // A server that answers out of order may have put entries into later answers: they are still taken.
                Reply::Status { code: code::EOF, .. } => self.handle = None,
                Reply::Status { code, message } if code != code::OK => {
                    return Err(SftpError::from_status(code, message));
                }
                _ => return Err(self.sftp.shared().unexpected()),
            }
        }
    }

    /// Asks as far ahead as permits and slots allow, first with `slots` that have been taken for it.
    fn ask_ahead(&mut self, mut slots: usize) -> Result<(), SftpError> {
        let shared = self.sftp.shared();
        let asked = loop {
            let Some(handle) = &self.handle else { break Ok(()) };
            if self.under_way.len() >= PARTS_AHEAD {
                break Ok(());
            }
            let permit = Arc::clone(&shared.listings_ahead).try_acquire_owned().ok();
            if permit.is_none() && !self.under_way.is_empty() {
                break Ok(());
            }
            if slots == 0 && !shared.try_slot()? {
                break Ok(());
            }
            slots = slots.saturating_sub(1);
            match shared.ask_any(Request::ReadDir(handle.bytes())) {
                Ok(answer) => self.under_way.push_back(Part { answer, _permit: permit }),
                Err(error) => break Err(error),
            }
        };
        shared.give_back_slots(slots);
        asked
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}
