//! Whose a VFIO device node is: its holder's uid while it has the VF, root's otherwise.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, lchown};
use std::path::Path;

/// Gives a device node (`/dev/vfio/N`) to the holder of its VFs.
pub fn give(device: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if !std::fs::symlink_metadata(device)?.file_type().is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a character device"));
    }
    lchown(device, Some(uid), Some(gid))
}

/// Makes a device node root's again, if it is still this holder's. A node that is gone (the group
/// left VFIO) or was given to the next guest meanwhile is left alone.
pub fn take_back(device: &Path, uid: u32) -> io::Result<()> {
    match std::fs::symlink_metadata(device) {
        Ok(found) if found.file_type().is_char_device() && found.uid() == uid => {
            lchown(device, Some(0), Some(0))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
