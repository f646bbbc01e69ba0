//! What clients ask for and takes its time: beside the tasks that serve them, on a few threads
//! only, so that kernel work and guests always find one.

use tokio::sync::Semaphore;
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};

/// How many at once; the runtime has several times as many threads.
const AT_ONCE: usize = 16;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Does a client's work on a thread that may be held up. A panic in it is an error to its client.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WireError> {
    let place = PLACES.acquire().await;
    let done = tokio::task::spawn_blocking(work).await;
    drop(place);
    done.map_err(|fault| {
        WireError::new(ErrorDomain::Rpc, ErrorCode::InternalError, &fault.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn clients_work_that_hangs_leaves_threads_for_kernel_work() {
        let (hanging, release) =
            (Arc::new(Barrier::new(AT_ONCE + 1)), Arc::new(Barrier::new(AT_ONCE + 1)));
        let clients: Vec<_> = (0..AT_ONCE * 8)
            .map(|number| {
                let (hanging, release) = (Arc::clone(&hanging), Arc::clone(&release));
                tokio::spawn(aside(move || {
                    if number < AT_ONCE {
                        hanging.wait();
                        release.wait();
                    }
                }))
            })
            .collect();
        let (all_hang, go_on) = (Arc::clone(&hanging), Arc::clone(&release));
        tokio::task::spawn_blocking(move || all_hang.wait()).await.unwrap();
        assert_eq!(PLACES.available_permits(), 0);
        // Whoever is no client does not wait for them.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        tokio::task::spawn_blocking(move || go_on.wait()).await.unwrap();
        for client in clients {
            client.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_to_the_client_and_takes_no_place_along() {
        let failed: Result<(), _> = aside(|| panic!("a fault of ours")).await;
        assert_eq!(failed.unwrap_err().known_code(), Some(ErrorCode::InternalError));
    }
}
