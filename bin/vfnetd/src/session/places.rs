//! Who gets a connection: places are counted, those of everybody apart from those of
//! administrators, and no user has more than a share of everybody's.
//!
//! Who hangs up gives back the place, though calls may go on. Of those there are only so many:
//! with more, places stay taken until the calls of their clients have ended, so that nobody piles
//! up work by coming back again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long after somebody had to wait for a place there may be others who do.
const RUSH: Duration = Duration::from_secs(2);

/// Calls that may go on without a client that has a place, for each kind of places.
const ADRIFT: usize = 1024;

/// Places of one kind.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    adrift: Arc<Semaphore>,
    /// The most that one user has, root excepted.
    most: Option<usize>,
    book: Arc<Mutex<Book>>,
}

/// Who has places, and when there was none.
#[derive(Debug, Default)]
struct Book {
    taken: HashMap<u32, usize>,
    waited: Option<Instant>,
}

/// A place that is taken; dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    uid: u32,
    adrift: Arc<Semaphore>,
    book: Arc<Mutex<Book>>,
}

/// There is no place, or the user has as many as one may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Places {
    pub(super) fn new(places: usize, of_one_user: Option<usize>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places)),
            adrift: Arc::new(Semaphore::new(ADRIFT)),
            most: of_one_user,
            book: Arc::default(),
        }
    }

    /// Whether others wait for a place, or did a moment ago.
    pub(super) fn are_scarce(&self, now: Instant) -> bool {
        lock(&self.book).waited.is_some_and(|waited| now < waited + RUSH)
            || self.free.available_permits() == 0
    }

    /// A place for a user, now or when one is free.
    pub(super) async fn take(&self, uid: u32) -> Result<Place, TooMany> {
        // Before the wait too: a user who has enough holds up nobody who has not.
        self.has_share(&lock(&self.book), uid)?;
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return self.give(permit, uid);
        }
        lock(&self.book).waited = Some(Instant::now());
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| TooMany)?;
        self.give(permit, uid)
    }

    /// A place for a user, if one is free.
    pub(super) fn take_now(&self, uid: u32) -> Result<Place, TooMany> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| TooMany)?;
        self.give(permit, uid)
    }

    fn give(&self, permit: OwnedSemaphorePermit, uid: u32) -> Result<Place, TooMany> {
        let mut book = lock(&self.book);
        self.has_share(&book, uid)?;
        *book.taken.entry(uid).or_default() += 1;
        let (adrift, book) = (Arc::clone(&self.adrift), Arc::clone(&self.book));
        Ok(Place { _permit: permit, uid, adrift, book })
    }

    fn has_share(&self, book: &Book, uid: u32) -> Result<(), TooMany> {
        match self.most {
            Some(most) if uid != 0 && book.taken.get(&uid).is_some_and(|count| *count >= most) => {
                Err(TooMany)
            }
            _ => Ok(()),
        }
    }
}

impl Place {
    /// Gives the place back: at once, unless too many calls go on without their clients already.
    /// Of `calls` there are `most` when none is under way. Returns when none is.
    pub(super) async fn leave(self, calls: &Semaphore, most: u16) {
        let free = u32::try_from(calls.available_permits()).unwrap_or(u32::MAX);
        let under_way = u32::from(most).saturating_sub(free);
        let (share, place) = match Arc::clone(&self.adrift).try_acquire_many_owned(under_way) {
            Ok(share) => {
                drop(self);
                (Some(share), None)
            }
            Err(_) => (None, Some(self)),
        };
        let _all_ended = calls.acquire_many(most.into()).await;
        drop((share, place));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        if let Some(count) = book.taken.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                book.taken.remove(&self.uid);
            }
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_has_a_share_and_leaves_the_rest_to_others() {
        let places = Places::new(3, Some(2));
        let mut of_one = vec![places.take(1000).await.unwrap(), places.take(1000).await.unwrap()];
        assert_eq!(places.take(1000).await.unwrap_err(), TooMany);
        let _other = places.take(1001).await.unwrap();
        assert!(places.are_scarce(Instant::now()));
        of_one.pop();
        let _again = places.take(1000).await.unwrap();
        assert_eq!(places.take(1000).await.unwrap_err(), TooMany);
    }

    #[tokio::test]
    async fn root_may_take_all_places_and_a_place_that_is_left_is_free() {
        let places = Places::new(2, Some(1));
        let taken = [places.take(0).await.unwrap(), places.take(0).await.unwrap()];
        assert_eq!(places.take_now(0).unwrap_err(), TooMany);
        drop(taken);
        assert!(lock(&places.book).taken.is_empty());
        places.take(0).await.unwrap();
    }

    #[tokio::test]
    async fn who_leaves_calls_behind_keeps_the_place_once_there_are_too_many_of_them() {
        const MOST: u16 = 512;
        let places = Places::new(1, None);
        // All that a client may have under way cannot end.
        let calls = || Arc::new(Semaphore::new(0));
        let leave = |place: Place, calls: &Arc<Semaphore>| {
            let calls = Arc::clone(calls);
            tokio::spawn(async move { place.leave(&calls, MOST).await })
        };
        let first = calls();
        let first_is_over = leave(places.take(0).await.unwrap(), &first);
        leave(places.take(0).await.unwrap(), &calls());
        leave(places.take(0).await.unwrap(), &calls());
        while places.adrift.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let mut next = Box::pin(places.take(0));
        for _while in 0..100 {
            tokio::select! {
                biased;
                _ = &mut next => panic!("the third has left more than there may be"),
                () = tokio::task::yield_now() => {}
            }
        }
        first.add_permits(MOST.into());
        first_is_over.await.unwrap();
        assert_eq!(places.adrift.available_permits(), usize::from(MOST));
        drop(next);
        assert_eq!(places.take_now(0).unwrap_err(), TooMany, "it stays so until its own end");
    }

    #[tokio::test]
    async fn places_are_scarce_while_somebody_waits_and_a_moment_after() {
        let places = Places::new(1, None);
        let taken = places.take(0).await.unwrap();
        let waits = tokio::spawn({
            let places = places.clone();
            async move { places.take(0).await }
        });
        while lock(&places.book).waited.is_none() {
            tokio::task::yield_now().await;
        }
        drop(taken);
        drop(waits.await.unwrap().unwrap());
        let now = Instant::now();
        assert!(places.are_scarce(now));
        assert!(!places.are_scarce(now + RUSH));
    }
}
