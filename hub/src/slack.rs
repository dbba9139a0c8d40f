//! Memory that a crowd left behind, given back to the system. When a fleet takes a version at once, each connection holds for
//! a second many times what it holds while its device waits; what is freed then lies between what is kept, and glibc's
//! `malloc` returns by itself what is at the end alone.

use std::time::Duration;

use tokio::sync::watch;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(30);
/// Growth since it was last given back, in bytes, from which on it is worth the look through all that is free.
const WORTH: u64 = 32 * 1024 * 1024;

/// Gives back what is free once the process has grown, until told to end.
pub async fn watch_over(mut ended: watch::Receiver<bool>) {
    let mut kept = resident();
    loop {
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let before = resident();
        if before.saturating_sub(kept) < WORTH {
            continue;
        }
        // Beside those who serve: it takes each arena's lock in turn.
        if let Err(error) = tokio::task::spawn_blocking(give_back).await {
            tracing::error!(cause = error.to_string(), "free memory was not given back");
        }
        kept = resident();
        tracing::debug!(before, kept, "free memory was given back");
    }
}

/// Bytes of this process in memory; 0 where the system does not say (proc_pid_statm(5), its second number, in pages).
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page.ok().flatten().and_then(|page| u64::try_from(page).ok());
    pages.unwrap_or_default() * page.unwrap_or(4096)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn give_back() {
    // SAFETY: malloc_trim(3) may be called at any time by any thread; it touches what is free alone.
    unsafe { nix::libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_lies_free_between_what_is_kept_is_given_back() {
        const EACH: usize = 64 * 1024;
        let mut all: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; EACH]).collect();
        // One small piece stays behind each.
        let stay: Vec<Box<[u8; 64]>> = all
            .iter_mut()
            .map(|one| {
                one[0] = 2;
                Box::new([3; 64])
            })
            .collect();
        let full = resident();
        drop(all);
        give_back();
        let after = resident();
        assert!(
            full - after > 4096 * EACH as u64 / 2,
            "{full} bytes before, {after} after"
        );
        assert_eq!(stay.len(), 4096);
    }
}
