//! The file systems of a container, mounted by its first process before the program starts.

use super::fault::{Doing, Fault};
use crate::runtime::Mount;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root, sethostname};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What the first process needs to build its root.
#[derive(Debug)]
pub(crate) struct Rootfs {
    /// The helper's scratch space; the paths below are in it.
    pub(crate) scratch: PathBuf,
    /// The image's directory, relative.
    pub(crate) image: PathBuf,
    /// The container's own directory, relative: `upper`, `work`, `merged`.
    pub(crate) own: PathBuf,
    /// The pod's directory, relative: `resolv.conf`, `hosts`, `hostname`.
    pub(crate) pod: PathBuf,
    /// The program under its own name, relative.
    pub(crate) program: PathBuf,
    /// Host name of the pod; empty where it shares its node's network.
    pub(crate) hostname: String,
    /// Whether overlay works here; else the image is copied.
    pub(crate) overlay: Overlay,
    /// The pod's mounts.
    pub(crate) mounts: Vec<Mount>,
    /// Whether the kernel's files show as they are.
    pub(crate) privileged: bool,
    /// Whether nothing outside the mounts may be written.
    pub(crate) read_only: bool,
}

/// How an image gets a writable layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// As root.
    Plain,
    /// In a user namespace.
    User,
    /// Refused here: a copy of the image for each container.
    Copy,
}

impl Overlay {
    /// Finds out by mounting one in `scratch` (and leaving it to the caller's throw-away child).
    pub(crate) fn mount(self, scratch: &Path, image: &Path, own: &Path) -> Result<PathBuf, Fault> {
        let merged = own.join("merged");
        for part in ["upper", "work", "merged"] {
            let path = scratch.join(own).join(part);
            fs::create_dir_all(&path).doing(|| format!("make {}", path.display()))?;
        }
        let options = match self {
            Self::Plain => "",
            Self::User => ",userxattr",
            Self::Copy => {
                copy_tree(&scratch.join(image), &scratch.join(&merged))?;
                bind(&scratch.join(&merged), &scratch.join(&merged))?;
                return Ok(merged);
            }
        };
        // Relative paths, because the scratch directory's name may hold commas or colons.
        chdir(scratch).doing(|| format!("enter {}", scratch.display()))?;
        let (lower, own) = (image.display(), own.display());
        let data = format!("lowerdir={lower},upperdir={own}/upper,workdir={own}/work{options}");
        mount(
            Some("overlay"),
            &merged,
            Some("overlay"),
            MsFlags::empty(),
            Some(data.as_str()),
        )
        .doing(|| "mount the overlay".into())?;
        Ok(merged)
    }
}

impl Rootfs {
    /// Builds the root and moves into it.
    pub(crate) fn enter(&self) -> Result<(), Fault> {
        isolate_mounts()?;
        let merged = self.overlay.mount(&self.scratch, &self.image, &self.own)?;
        let root = self.scratch.join(merged);
        mount_proc_and_sys(&root, self.privileged)?;
        mount_dev(&root)?;
        for file in ["resolv.conf", "hosts", "hostname"] {
            bind_file(
                &self.scratch.join(&self.pod).join(file),
                &root.join("etc").join(file),
            )?;
        }
        bind_file(
            &self.scratch.join(&self.program),
            &root.join("bin/plimsoll"),
        )?;
        for one in &self.mounts {
            mount_volume(&root, one)?;
        }
        chdir(&root).doing(|| "enter the root".into())?;
        pivot_root(".", ".").doing(|| "change the root".into())?;
        umount2(".", MntFlags::MNT_DETACH).doing(|| "drop the old root".into())?;
        chdir("/").doing(|| "enter the root".into())?;
        if self.read_only {
            make_read_only(Path::new("/"))?;
        }
        if !self.hostname.is_empty() {
            sethostname(&self.hostname).doing(|| "set the host name".into())?;
        }
        Ok(())
    }
}

/// Keeps what this process mounts from everybody else.
pub(crate) fn isolate_mounts() -> Result<(), Fault> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .doing(|| "make mounts private".into())
}

/// Mounts a fresh file system.
pub(crate) fn mount_new(
    kind: &str,
    target: &Path,
    flags: MsFlags,
    options: &str,
) -> Result<(), Fault> {
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .doing(|| format!("mount {kind} on {}", target.display()))
}

/// Makes `source` visible at `target`, which exists.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<(), Fault> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>)
        .doing(|| format!("bind {} on {}", source.display(), target.display()))
}

fn mount_proc_and_sys(root: &Path, privileged: bool) -> Result<(), Fault> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_new("proc", &root.join("proc"), quiet, "")?;
    let sys = root.join("sys");
    // A network shared with the host does not let us mount sysfs; then there is none.
    let flags = if privileged {
        quiet
    } else {
        quiet | MsFlags::MS_RDONLY
    };
    let _absent = mount_new("sysfs", &sys, flags, "");
    if privileged {
        return Ok(());
    }
    for secret in [
        "proc/kcore",
        "proc/keys",
        "proc/timer_list",
        "proc/sysrq-trigger",
    ] {
        let path = root.join(secret);
        if path.exists() {
            bind(Path::new("/dev/null"), &path)?;
        }
    }
    Ok(())
}

fn mount_dev(root: &Path) -> Result<(), Fault> {
    let dev = root.join("dev");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME;
    mount_new("tmpfs", &dev, flags, "mode=755,size=65536k")?;
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        bind_file(&Path::new("/dev").join(device), &dev.join(device))?;
    }
    for directory in ["pts", "shm"] {
        let path = dev.join(directory);
        fs::create_dir(&path).doing(|| format!("make {}", path.display()))?;
    }
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_new(
        "devpts",
        &dev.join("pts"),
        quiet,
        "newinstance,ptmxmode=0666,mode=0620",
    )?;
    mount_new(
        "tmpfs",
        &dev.join("shm"),
        quiet | MsFlags::MS_NODEV,
        "mode=1777,size=65536k",
    )?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name)).doing(|| format!("link /dev/{name}"))?;
    }
    Ok(())
}

fn bind_file(source: &Path, target: &Path) -> Result<(), Fault> {
    if !target.exists() {
        fs::write(target, "").doing(|| format!("make {}", target.display()))?;
    }
    bind(source, target)
}

fn mount_volume(root: &Path, volume: &Mount) -> Result<(), Fault> {
    let inside = volume.target.strip_prefix("/").unwrap_or(&volume.target);
    let target = root.join(inside);
    let shown = volume.source.display();
    let about = fs::metadata(&volume.source).doing(|| format!("find {shown}"))?;
    if about.is_dir() {
        fs::create_dir_all(&target).doing(|| format!("make {}", target.display()))?;
        bind(&volume.source, &target)?;
    } else {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).doing(|| format!("make {}", parent.display()))?;
        }
        bind_file(&volume.source, &target)?;
    }
    if volume.read_only {
        make_read_only(&target)
    } else {
        Ok(())
    }
}

fn make_read_only(target: &Path) -> Result<(), Fault> {
    // In a user namespace the flags that the source came with cannot be taken away.
    let old = statvfs(target)
        .doing(|| format!("inspect {}", target.display()))?
        .flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (seen, keep) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if old.contains(seen) {
            flags |= keep;
        }
    }
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .doing(|| format!("make {} read-only", target.display()))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::create_dir_all(to).doing(|| format!("make {}", to.display()))?;
    let entries = fs::read_dir(from).doing(|| format!("list {}", from.display()))?;
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry
            .file_type()
            .doing(|| format!("inspect {}", source.display()))?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            fs::read_link(&source)
                .and_then(|link| symlink(link, &target))
                .doing(|| format!("link {}", target.display()))?;
        } else {
            fs::copy(&source, &target).doing(|| format!("copy {}", source.display()))?;
        }
    }
    Ok(())
}
