//! The content of a file, asked for far ahead of whoever takes it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::SftpError;
use crate::session::{SURE_READ_BYTES, Sftp};
use crate::shared::{OpenHandle, Waiter};
use crate::wire::{Attributes, Reply, Request, code};

/// An open file. It is closed, without waiting for that, when it and its [`Reading`]s have been dropped.
pub struct File {
    sftp: Sftp,
    handle: Arc<OpenHandle>,
}

impl File {
    pub(crate) fn new(sftp: Sftp, handle: OpenHandle) -> Self {
        Self { sftp, handle: Arc::new(handle) }
    }

    /// What the open file is now.
    ///
    /// # Errors
    /// When the host refuses, and when the session is over.
    pub async fn attributes(&self) -> Result<Attributes, SftpError> {
        self.sftp.fstat(&self.handle).await
    }

    /// Reads the bytes from `from` up to `to`, without `to`. The first requests leave at once, and after the last of them
    /// goes the question what the file then is; so a small file costs one round trip.
    #[must_use]
    pub fn read(&self, from: u64, to: u64) -> Reading {
        let mut reading = Reading {
            sftp: self.sftp.clone(),
            handle: Arc::clone(&self.handle),
            pieces: VecDeque::new(),
            asked: from,
            end: to.max(from),
            after: After::NotAsked,
            failed: false,
        };
        // Fails only with the session; `next` meets that again.
        let _over = reading.ask_ahead(0);
        reading
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

/// A range of a file on its way.
///
/// Invariants:
/// - `pieces` are adjacent, in order, and end at `asked`; everything before the first has been taken;
/// - only the first piece can be one that hasn't been asked for: what a short answer left out;
/// - a piece holds a permit for its bytes, or is alone: so every file gets on, whatever the others hold.
pub struct Reading {
    sftp: Sftp,
    handle: Arc<OpenHandle>,
    pieces: VecDeque<Piece>,
    asked: u64,
    end: u64,
    after: After,
    failed: bool,
}

struct Piece {
    offset: u64,
    length: u32,
    answer: Option<oneshot::Receiver<Reply>>,
    permit: Option<OwnedSemaphorePermit>,
}

enum After {
    NotAsked,
    Asked(oneshot::Receiver<Reply>),
    /// Something had to be read after it was asked.
    TooEarly,
}

impl Reading {
    /// The next bytes; `None` at the end of the range, or where the file ends before it. Each is what one packet brought.
    /// May be dropped and called again without losing bytes.
    ///
    /// # Errors
    /// When the host refuses to read on, and when the session is over. The reading is then of no more use.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SftpError> {
        if self.failed {
            return Err(SftpError::earlier());
        }
        let next = self.next_piece().await;
        if next.is_err() {
            self.failed = true;
            self.pieces.clear();
        }
        next
    }

    /// What the file was after the last read, in a session whose server answers in order, as OpenSSH's does.
    /// To be called when [`Self::next`] has said `None`; before that, it tells what the file is now.
    ///
    /// # Errors
    /// When the host refuses, and when the session is over.
    pub async fn after(mut self) -> Result<Attributes, SftpError> {
        match &mut self.after {
            After::Asked(answer) => self.sftp.attributes_in(answer).await,
            After::NotAsked | After::TooEarly => self.sftp.fstat(&self.handle).await,
        }
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, SftpError> {
        loop {
            self.ask_ahead(0)?;
            let answer = match self.pieces.front_mut() {
                None if self.asked == self.end => return Ok(None),
                None | Some(Piece { answer: None, .. }) => {
                    self.sftp.shared().slot().await?;
                    self.ask_ahead(1)?;
                    continue;
                }
                Some(Piece { answer: Some(answer), .. }) => answer,
            };
            let reply = self.sftp.shared().wait(answer).await?;
            let Some(piece) = self.pieces.pop_front() else { continue };
            match reply {
                Reply::Data(data) => {
                    self.put_back_rest(piece, data.len() as u32);
                    self.ask_ahead(0)?;
                    return Ok(Some(data));
                }
                Reply::Status { code: code::EOF, .. } => {
                    self.pieces.clear();
                    self.end = self.asked;
                    return Ok(None);
                }
                Reply::Status { code, message } if code != code::OK => {
                    return Err(SftpError::from_status(code, message));
                }
                _ => return Err(self.sftp.shared().unexpected()),
            }
        }
    }

    /// What a short answer left out of its piece is to be asked again: only then is it known whether the file ends there.
    fn put_back_rest(&mut self, piece: Piece, came: u32) {
        let length = piece.length.saturating_sub(came);
        if length == 0 {
            return;
        }
        let permit = piece.permit.and_then(|mut permit| permit.split(length as usize));
        self.pieces.push_front(Piece { offset: piece.offset + u64::from(came), length, answer: None, permit });
        self.after = After::TooEarly;
    }

    /// Asks as far ahead as permits and slots allow, first with `slots` that have been taken for it.
    fn ask_ahead(&mut self, mut slots: usize) -> Result<(), SftpError> {
        let asked = self.ask_with(&mut slots);
        self.sftp.shared().give_back_slots(slots);
        asked
    }

    fn ask_with(&mut self, slots: &mut usize) -> Result<(), SftpError> {
        let shared = Arc::clone(self.sftp.shared());
        let mut slot = || match *slots {
            0 => shared.try_slot(),
            _ => {
                *slots -= 1;
                Ok(true)
            }
        };
        if let Some(Piece { offset, length, answer: answer @ None, .. }) = self.pieces.front_mut() {
            if !slot()? {
                return Ok(());
            }
            *answer = Some(ask_read(&self.sftp, &self.handle, *offset, *length)?);
        }
        while self.asked < self.end {
            let Some((length, permit)) = self.allowance() else { return Ok(()) };
            if !slot()? {
                return Ok(());
            }
            let answer = ask_read(&self.sftp, &self.handle, self.asked, length)?;
            self.pieces.push_back(Piece { offset: self.asked, length, answer: Some(answer), permit });
            self.asked += u64::from(length);
        }
        if matches!(self.after, After::NotAsked) && slot()? {
            self.after = After::Asked(shared.ask_any(Request::Fstat(self.handle.bytes()))?);
        }
        Ok(())
    }

    /// How much may be asked for next. A file with nothing under way gets a little even when nothing is left.
    fn allowance(&self) -> Option<(u32, Option<OwnedSemaphorePermit>)> {
        let rest = u32::try_from(self.end - self.asked).unwrap_or(u32::MAX);
        let length = rest.min(self.sftp.read_bytes());
        let budget = Arc::clone(&self.sftp.shared().bytes_ahead);
        match budget.try_acquire_many_owned(length) {
            Ok(permit) => Some((length, Some(permit))),
            Err(_) => self.pieces.is_empty().then(|| (length.min(SURE_READ_BYTES), None)),
        }
    }
}

fn ask_read(sftp: &Sftp, handle: &OpenHandle, offset: u64, length: u32) -> Result<oneshot::Receiver<Reply>, SftpError> {
    let (to, answer) = oneshot::channel();
    let request = Request::Read { handle: handle.bytes(), offset, length };
    sftp.shared().ask(request, Waiter::Read { asked: length, to })?;
    Ok(answer)
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}
