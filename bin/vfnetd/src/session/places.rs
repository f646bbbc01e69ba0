//! Who gets a connection: places are counted, those of everybody apart from those of
//! administrators, and no user has more than a share of everybody's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of one kind.
#[derive(Clone, Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// The most that one user has, root excepted.
    most: Option<usize>,
    taken: Arc<Mutex<HashMap<u32, usize>>>,
}

/// A place that is taken; dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    uid: u32,
    taken: Arc<Mutex<HashMap<u32, usize>>>,
}

/// There is no place, or the user has as many as one may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Places {
    pub(super) fn new(places: usize, of_one_user: Option<usize>) -> Self {
        Self { free: Arc::new(Semaphore::new(places)), most: of_one_user, taken: Arc::default() }
    }

    /// Whether all are taken, so that others wait.
    pub(super) fn are_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// A place for a user, now or when one is free.
    pub(super) async fn take(&self, uid: u32) -> Result<Place, TooMany> {
        // Before the wait too: a user who has enough holds up nobody who has not.
        self.has_share(&lock(&self.taken), uid)?;
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| TooMany)?;
        self.give(permit, uid)
    }

    /// A place for a user, if one is free.
    pub(super) fn take_now(&self, uid: u32) -> Result<Place, TooMany> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| TooMany)?;
        self.give(permit, uid)
    }

    fn give(&self, permit: OwnedSemaphorePermit, uid: u32) -> Result<Place, TooMany> {
        let mut taken = lock(&self.taken);
        self.has_share(&taken, uid)?;
        *taken.entry(uid).or_default() += 1;
        Ok(Place { _permit: permit, uid, taken: Arc::clone(&self.taken) })
    }

    fn has_share(&self, taken: &HashMap<u32, usize>, uid: u32) -> Result<(), TooMany> {
        match self.most {
            Some(most) if uid != 0 && taken.get(&uid).is_some_and(|count| *count >= most) => {
                Err(TooMany)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

fn lock(taken: &Mutex<HashMap<u32, usize>>) -> MutexGuard<'_, HashMap<u32, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(places.are_taken());
        of_one.pop();
        let _again = places.take(1000).await.unwrap();
        assert_eq!(places.take(1000).await.unwrap_err(), TooMany);
    }

    #[tokio::test]
    async fn root_may_take_all_places_and_a_place_that_is_left_is_free() {
        let places = Places::new(2, Some(1));
        let taken = [places.take(0).await.unwrap(), places.take(0).await.unwrap()];
        assert!(places.are_taken());
        drop(taken);
        assert!(lock(&places.taken).is_empty());
        places.take(0).await.unwrap();
    }
}
