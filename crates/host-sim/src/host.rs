//! [`SimHost`]: the handle on a simulated machine, and its face to the program under test.
//!
//! Everything that the program writes goes through [`SimHost::write`], where the trace is kept and
//! where the program can be made to die. What [`crate::kernel`] does with it happens under one
//! lock, which is never held while a crash unwinds.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::panic;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use vfnet_host::{Counters, DeviceTree, Host, HostError};
use vfnet_model::inventory::{Inventory, Pf, Vf};
use vfnet_model::node_device::{NodeDevice, Outline};
use vfnet_model::vf::{VfAttributes, VfIndex, VfSetting};
use vfnet_model::{BootId, DriverName, MacAddress, NetdevName, PciAddress};

use crate::builder::HostBuilder;
use crate::facts::VfFacts;
use crate::fault::{FaultKind, FaultPoint, OpKind};
use crate::file::{StateFile, StateFileError};
use crate::kernel::setting_refused;
use crate::kernel::{Holder, Kernel, NetdevState, Pause, Step, VfioOpenError, gone, refused};
use crate::process::ProcessId;
use crate::trace::{Operation, Write};

/// How long a call without a deadline of its own waits for a lock in the kernel.
const LOCK_LIMIT: Duration = Duration::from_secs(30);

/// Fixed sleeps of `sriov_enable` and `sriov_disable` (kernel: `drivers/pci/iov.c`).
const ENABLE: Duration = Duration::from_millis(100);
const DISABLE: Duration = Duration::from_secs(1);

/// How often [`Host::wait`] looks, in virtual time.
const LOOK: Duration = Duration::from_millis(100);

/// A simulated machine. Clones are handles on the same one.
#[derive(Clone)]
pub struct SimHost {
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    program: Mutex<Program>,
}

struct Store {
    kernel: Kernel,
    file: Option<StateFile>,
}

/// The program under test, as far as this end knows it.
#[derive(Default)]
struct Program {
    hook: Option<Hook>,
    dead: bool,
}

type Hook = Box<dyn FnMut(&Write) -> Verdict + Send>;

/// Whether the program under test lives through a write. See [`SimHost::on_write`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It does.
    Proceed,
    /// It dies before the kernel sees the write.
    CrashBefore,
    /// It dies when the kernel has done the write.
    CrashAfter,
}

/// What unwinds when the program under test dies: catch it with `std::panic::catch_unwind` and
/// downcast the payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimCrash {
    /// The write at which it died.
    pub write: Write,
    /// Whether the kernel did it.
    pub written: bool,
}

/// What a fault makes of an operation.
#[derive(Clone, Copy)]
enum Met {
    Go(Pause),
    Ignored,
    Refused(Errno),
}

impl fmt::Debug for SimHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimHost").field("kernel", &self.snapshot()).finish()
    }
}

/// Making one.
impl SimHost {
    /// A machine to be described.
    pub fn builder() -> HostBuilder {
        HostBuilder::new()
    }

    /// A machine in the state of a snapshot, in memory, apart from where that came from.
    pub fn new(kernel: Kernel) -> Self {
        Self::with(Store { kernel, file: None })
    }

    /// The machine in a file made by [`HostBuilder::build_at`]. Several processes may have it open
    /// at once; each sees what the others do.
    pub fn open(path: &Path) -> Result<Self, StateFileError> {
        let mut file = StateFile::new(path);
        let lock = file.lock()?;
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let kernel = file.changed()?.ok_or_else(|| file.failed("read", missing()))?;
        drop(lock);
        Ok(Self::with(Store { kernel, file: Some(file) }))
    }

    pub(crate) fn create(path: &Path, kernel: Kernel) -> Result<Self, StateFileError> {
        let mut file = StateFile::new(path);
        let lock = file.lock()?;
        if file.exists() {
            return Err(file.failed("write", io::ErrorKind::AlreadyExists.into()));
        }
        file.save(&kernel)?;
        drop(lock);
        Ok(Self::with(Store { kernel, file: Some(file) }))
    }

    fn with(store: Store) -> Self {
        let shared = Shared { store: Mutex::new(store), program: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }
}

/// Looking.
impl SimHost {
    /// The whole machine, as it is now.
    pub fn snapshot(&self) -> Kernel {
        self.with_kernel(|kernel| kernel.clone())
    }

    /// All VFs, as they are now.
    pub fn facts(&self) -> BTreeMap<PciAddress, VfFacts> {
        self.with_kernel(|kernel| kernel.facts())
    }

    /// What the program under test has written, oldest first.
    pub fn trace(&self) -> Vec<Write> {
        self.with_kernel(|kernel| kernel.trace.clone())
    }

    /// How much that is.
    pub fn writes(&self) -> usize {
        self.with_kernel(|kernel| kernel.trace.len())
    }

    /// What was written after the first `known` writes.
    pub fn writes_after(&self, known: usize) -> Vec<Write> {
        self.with_kernel(|kernel| kernel.trace.get(known..).unwrap_or_default().to_vec())
    }

    /// Forgets what was written.
    pub fn clear_trace(&self) {
        self.with_kernel(|kernel| kernel.trace.clear());
    }

    /// Virtual time since the simulation began.
    pub fn clock(&self) -> Duration {
        self.with_kernel(|kernel| kernel.clock)
    }
}

/// Faults and crashes.
impl SimHost {
    /// Has operations go wrong from now on.
    pub fn fail(&self, point: FaultPoint, kind: FaultKind) {
        self.with_kernel(|kernel| kernel.faults.add(point, kind));
    }

    /// Forgets all faults. What is stuck stays stuck.
    pub fn clear_faults(&self) {
        self.with_kernel(|kernel| kernel.faults.clear());
    }

    /// The faults that have hit an operation since this was asked last.
    pub fn take_hits(&self) -> Vec<(OpKind, FaultKind)> {
        self.with_kernel(|kernel| kernel.faults.take_hits())
    }

    /// Lets go of an operation on this device that a fault holds up.
    pub fn release(&self, device: PciAddress) {
        self.with_kernel(|kernel| kernel.release(device));
    }

    /// Decides at each write whether the program lives through it. Death is a [`SimCrash`] that
    /// unwinds from the call; every later write dies before the kernel sees it, until
    /// [`SimHost::revive`].
    ///
    /// The hook may look at this host and change the world, but not write as the program does.
    pub fn on_write(&self, hook: Box<dyn FnMut(&Write) -> Verdict + Send>) {
        self.program().hook = Some(hook);
    }

    /// The program dies at its `n`th write from now (from 1), before the kernel sees it.
    pub fn crash_before(&self, n: usize) {
        self.crash_at(n, Verdict::CrashBefore);
    }

    /// The program dies at its `n`th write from now (from 1), when the kernel has done it.
    pub fn crash_after(&self, n: usize) {
        self.crash_at(n, Verdict::CrashAfter);
    }

    /// The program is started anew: no hook, and its writes are done.
    pub fn revive(&self) {
        *self.program() = Program::default();
    }

    /// Whether the program has died.
    pub fn crashed(&self) -> bool {
        self.program().dead
    }

    fn crash_at(&self, n: usize, verdict: Verdict) {
        let mut count = 0;
        self.on_write(Box::new(move |_| {
            count += 1;
            if count == n { verdict } else { Verdict::Proceed }
        }));
    }
}

/// The rest of the world.
impl SimHost {
    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.with_kernel(|kernel| kernel.advance(time));
    }

    /// Power off and on. There are no VFs afterwards.
    pub fn reboot(&self) {
        self.with_kernel(Kernel::reboot);
    }

    /// An administrator makes VFs, which are new devices every time.
    pub fn make_vfs(&self, pf: PciAddress, count: u16) -> Result<(), HostError> {
        self.num_vfs(pf, count)
    }

    /// An administrator removes all VFs of a PF. Stuck while a VFIO group of one is open.
    pub fn remove_vfs(&self, pf: PciAddress) -> Result<(), HostError> {
        self.num_vfs(pf, 0)
    }

    /// A VF is hot-removed.
    pub fn remove_vf(&self, vf: PciAddress) {
        self.with_kernel(|kernel| kernel.remove_vf(vf));
    }

    /// An operation on another VF of this PF goes on for so long, during which the drivers that
    /// do one thing at a time are busy.
    pub fn occupy_pf(&self, pf: PciAddress, time: Duration) {
        self.with_kernel(|kernel| kernel.occupy(pf, time));
    }

    /// An administrator reloads a PF's driver, which takes its VFs; whether that was done. It
    /// waits for whoever has a VF open, and happens when they are gone.
    pub fn reload_pf_driver(&self, pf: PciAddress) -> bool {
        self.with_kernel(|kernel| kernel.reload_pf(pf, LOCK_LIMIT))
    }

    /// A PF is pulled out of its slot, and its VFs with it; whether that was done. The kernel
    /// waits for whoever has a VF open, and lets go when they are gone.
    pub fn unplug_pf(&self, pf: PciAddress) -> bool {
        let unplug = |kernel: &mut Kernel| {
            kernel.perform(pf, Step::Unplug, Pause::None, LOCK_LIMIT).is_some()
        };
        self.with_kernel(unplug)
    }

    /// A PF that was pulled out is put back into its slot, with its driver and without VFs.
    pub fn plug_pf(&self, pf: PciAddress) {
        self.with_kernel(|kernel| kernel.plug(pf));
    }

    /// A PF's PCI Express link has so many errors more.
    pub fn pcie_errors(&self, pf: PciAddress, more: u64) {
        self.with_kernel(|kernel| kernel.pfs.get_mut(&pf).map(|pf| pf.errors += more));
    }

    /// Raises a PF.
    pub fn pf_up(&self, pf: PciAddress) {
        self.with_kernel(|kernel| kernel.pfs.get_mut(&pf).map(|pf| pf.up = true));
    }

    /// Takes a PF down.
    pub fn pf_down(&self, pf: PciAddress) {
        self.with_kernel(|kernel| kernel.pfs.get_mut(&pf).map(|pf| pf.up = false));
    }

    /// Plugs or pulls a PF's cable.
    pub fn set_carrier(&self, pf: PciAddress, carrier: bool) {
        self.with_kernel(|kernel| kernel.pfs.get_mut(&pf).map(|pf| pf.carrier = carrier));
    }

    /// Renames a PF's netdev; VFs' netdevs keep their names.
    pub fn rename_pf(&self, pf: PciAddress, name: &NetdevName) {
        self.with_kernel(|kernel| kernel.pfs.get_mut(&pf).map(|pf| pf.name = name.clone()));
    }

    /// Sets `sriov_drivers_autoprobe`.
    pub fn set_autoprobe(&self, pf: PciAddress, on: bool) {
        self.with_kernel(|kernel| kernel.pfs.get_mut(&pf).map(|pf| pf.autoprobe = on));
    }

    /// Changes a VF's netdev: addresses, bridge, namespace. Whether it has one.
    pub fn change_netdev(&self, vf: PciAddress, change: impl FnOnce(&mut NetdevState)) -> bool {
        self.with_kernel(|kernel| kernel.netdev_mut(vf).map(change).is_some())
    }

    /// A process uses a VF's RDMA device, or stops.
    pub fn set_rdma(&self, vf: PciAddress, who: Option<&str>) {
        let who = who.map(str::to_owned);
        self.with_kernel(|kernel| kernel.vfs.get_mut(&vf).map(|vf| vf.rdma = who));
    }

    /// A process opens the VFIO group of a device ("qemu (pid 1)"), which resets the function.
    pub fn open_vfio(&self, device: PciAddress, who: &str) -> Result<(), VfioOpenError> {
        let holder = Holder { name: who.to_owned(), process: None };
        self.with_kernel(|kernel| kernel.open_vfio(device, holder))
    }

    /// The calling process opens the VFIO group of a device, and keeps it open until it ends,
    /// however it ends, or closes it. For stand-ins of QEMU over a machine in a file.
    pub fn open_vfio_myself(&self, device: PciAddress, name: &str) -> Result<(), VfioOpenError> {
        let process = ProcessId::myself();
        let name = format!("{name} (pid {})", std::process::id());
        self.with_kernel(|kernel| kernel.open_vfio(device, Holder { name, process }))
    }

    /// The group is closed again; an unbind that waited for that goes on.
    pub fn close_vfio(&self, device: PciAddress) {
        self.with_kernel(|kernel| kernel.close_vfio(device));
    }
}

/// The way in.
impl SimHost {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn program(&self) -> MutexGuard<'_, Program> {
        self.shared.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads or changes the machine, and its file with it. A file that cannot be read or written
    /// in the middle of a test is the test's failure.
    fn with_kernel<T>(&self, act: impl FnOnce(&mut Kernel) -> T) -> T {
        let mut store = self.store();
        let Store { kernel, file } = &mut *store;
        let Some(file) = file else {
            kernel.reap();
            return act(kernel);
        };
        let usable = "the simulated machine's file is usable";
        let lock: File = file.lock().expect(usable);
        if let Some(changed) = file.changed().expect(usable) {
            *kernel = changed;
        }
        let before = kernel.clone();
        kernel.reap();
        let outcome = act(kernel);
        if *kernel != before {
            file.save(kernel).expect(usable);
        }
        drop(lock);
        outcome
    }

    fn write<T>(&self, write: Write, act: impl FnOnce(&mut Kernel) -> T) -> T {
        let verdict = self.verdict(&write);
        if verdict == Verdict::CrashBefore {
            crash(write, false);
        }
        let outcome = self.with_kernel(|kernel| {
            kernel.trace.push(write.clone());
            act(kernel)
        });
        if verdict == Verdict::CrashAfter {
            crash(write, true);
        }
        outcome
    }

    fn verdict(&self, write: &Write) -> Verdict {
        let mut program = self.program();
        if program.dead {
            return Verdict::CrashBefore;
        }
        let verdict = program.hook.as_mut().map_or(Verdict::Proceed, |hook| hook(write));
        program.dead = verdict != Verdict::Proceed;
        verdict
    }

    fn num_vfs(&self, pf: PciAddress, count: u16) -> Result<(), HostError> {
        self.with_kernel(|kernel| kernel.write_num_vfs(pf, count, Met::Go(Pause::None), LOCK_LIMIT))
    }
}

/// Without the panic hook: a simulated death is no test failure to be printed.
fn crash(write: Write, written: bool) -> ! {
    panic::resume_unwind(Box::new(SimCrash { write, written }))
}

impl Kernel {
    fn meet(&mut self, op: OpKind, device: Option<PciAddress>) -> Met {
        match self.faults.hit(op, device) {
            None => Met::Go(Pause::None),
            Some(FaultKind::Error(number)) => Met::Refused(Errno::from_raw_os_error(number)),
            Some(FaultKind::Stuck) => Met::Go(Pause::Forever),
            Some(FaultKind::Ignored) => Met::Ignored,
            Some(FaultKind::Slow(time)) => Met::Go(Pause::For(time)),
            Some(FaultKind::Vanish) => {
                if let Some(vf) = device {
                    self.remove_vf(vf);
                }
                Met::Go(Pause::None)
            }
        }
    }

    /// An operation under no lock of a device; `limit` is how long its caller waits.
    fn meet_unlocked(
        &mut self,
        op: OpKind,
        device: Option<PciAddress>,
        limit: Duration,
    ) -> Result<Met, Duration> {
        let met = self.meet(op, device);
        match met {
            Met::Go(Pause::For(time)) if time <= limit => self.advance(time),
            Met::Go(Pause::For(_) | Pause::Forever) => {
                self.advance(limit);
                return Err(limit);
            }
            _ => {}
        }
        Ok(met)
    }

    fn write_num_vfs(
        &mut self,
        pf: PciAddress,
        count: u16,
        met: Met,
        limit: Duration,
    ) -> Result<(), HostError> {
        let told = |errno| refused(pf, "sriov_numvfs", &count.to_string(), errno);
        let Some(state) = self.pfs.get(&pf) else { return Err(gone(format!("PF {pf}"))) };
        let takes = match count {
            _ if count == state.num_vfs => Duration::ZERO,
            0 => DISABLE,
            _ => ENABLE,
        };
        let pause = match met {
            Met::Refused(errno) => return Err(told(errno)),
            Met::Ignored => return Ok(()),
            Met::Go(Pause::None) => Pause::For(takes),
            Met::Go(Pause::For(time)) => Pause::For(time.max(takes)),
            Met::Go(Pause::Forever) => Pause::Forever,
        };
        if let Err(errno) = self.refuses_num_vfs(pf, count)
            && !self.is_stuck(pf)
        {
            return Err(told(errno));
        }
        match self.perform(pf, Step::NumVfs(count), pause, limit) {
            Some(outcome) => outcome.map_err(told),
            None => Err(HostError::Stuck {
                step: format!("writing sriov_numvfs {count} of {pf}"),
                limit,
            }),
        }
    }

    /// A write to a file of one device, done under the device's lock.
    fn write_device(
        &mut self,
        device: PciAddress,
        (op, file, text): (OpKind, &'static str, &str),
        step: Step,
        limit: Duration,
    ) -> Result<(), HostError> {
        let pause = match self.meet(op, Some(device)) {
            Met::Refused(errno) => return Err(refused(device, file, text, errno)),
            Met::Ignored => return Ok(()),
            Met::Go(pause) => pause,
        };
        if !self.exists(device) {
            return Err(gone(format!("device {device}")));
        }
        match self.perform(device, step, pause, limit) {
            Some(Ok(())) => Ok(()),
            Some(Err(Errno::NODEV)) => Err(gone(format!("device {device}"))),
            Some(Err(errno)) => Err(refused(device, file, text, errno)),
            None => {
                let step = format!("writing '{text}' to {file} of {device}");
                Err(HostError::Stuck { step, limit })
            }
        }
    }
}

impl Host for SimHost {
    fn boot_id(&self) -> Result<BootId, HostError> {
        Ok(self.with_kernel(|kernel| kernel.boot_id.clone()))
    }

    fn inventory(&self) -> Result<Inventory, HostError> {
        self.with_kernel(|kernel| match kernel.faults.hit(OpKind::ReadInventory, None) {
            Some(FaultKind::Error(number)) => Err(HostError::File {
                doing: "read".into(),
                path: "/sys/bus/pci/devices".into(),
                source: io::Error::from_raw_os_error(number),
            }),
            _ => Ok(kernel.inventory()),
        })
    }

    fn vf(&self, vf: PciAddress) -> Result<Option<Vf>, HostError> {
        self.with_kernel(|kernel| match kernel.meet(OpKind::ReadVf, Some(vf)) {
            Met::Refused(errno) => Err(HostError::File {
                doing: "read".into(),
                path: format!("/sys/bus/pci/devices/{vf}"),
                source: errno.into(),
            }),
            _ => Ok(kernel.vf(vf)),
        })
    }

    fn pf(&self, pf: PciAddress) -> Result<Option<Pf>, HostError> {
        Ok(self.with_kernel(|kernel| kernel.pf(pf)))
    }

    fn vf_attributes(&self, pf: PciAddress, vf: VfIndex) -> Result<VfAttributes, HostError> {
        self.with_kernel(|kernel| {
            let device = kernel.vf_address(pf, vf).unwrap_or(pf);
            match kernel.meet(OpKind::ReadAttributes, Some(device)) {
                Met::Refused(errno) => Err(HostError::Netlink {
                    doing: format!("read VF {vf} of {pf}"),
                    text: None,
                    source: errno.into(),
                }),
                _ => kernel.attributes(pf, vf),
            }
        })
    }

    fn vf_counters(&self, pf: PciAddress, vf: VfIndex) -> Result<Option<Counters>, HostError> {
        Ok(self.with_kernel(|kernel| kernel.counters(pf, vf)))
    }

    fn set_vf(&self, pf: PciAddress, vf: VfIndex, setting: VfSetting) -> Result<(), HostError> {
        let device = self.with_kernel(|kernel| kernel.vf_address(pf, vf)).unwrap_or(pf);
        self.write(Write { device: Some(device), operation: Operation::Set(setting) }, |kernel| {
            match kernel.meet_unlocked(OpKind::of(setting), Some(device), LOCK_LIMIT) {
                Ok(Met::Go(_)) => kernel.set_vf(pf, vf, setting),
                Ok(Met::Ignored) => Ok(()),
                Ok(Met::Refused(errno)) => Err(setting_refused(pf, vf, setting, errno)),
                Err(limit) => {
                    let step = format!("setting {} of VF {vf} of {pf}", setting.name());
                    Err(HostError::Stuck { step, limit })
                }
            }
        })
    }

    fn set_num_vfs(&self, pf: PciAddress, count: u16, deadline: Duration) -> Result<(), HostError> {
        self.write(Write { device: Some(pf), operation: Operation::NumVfs(count) }, |kernel| {
            let met = kernel.meet(OpKind::NumVfs, Some(pf));
            kernel.write_num_vfs(pf, count, met, deadline)
        })
    }

    fn set_drivers_autoprobe(&self, pf: PciAddress, on: bool) -> Result<(), HostError> {
        self.write(Write { device: Some(pf), operation: Operation::Autoprobe(on) }, |kernel| {
            let told =
                |errno| refused(pf, "sriov_drivers_autoprobe", if on { "1" } else { "0" }, errno);
            match kernel.meet_unlocked(OpKind::Autoprobe, Some(pf), LOCK_LIMIT) {
                Ok(Met::Refused(errno)) => return Err(told(errno)),
                Ok(Met::Ignored) => return Ok(()),
                Ok(Met::Go(_)) => {}
                Err(limit) => {
                    let step = format!("writing sriov_drivers_autoprobe of {pf}");
                    return Err(HostError::Stuck { step, limit });
                }
            }
            let state = kernel.pfs.get_mut(&pf).ok_or_else(|| gone(format!("PF {pf}")))?;
            state.autoprobe = on;
            Ok(())
        })
    }

    fn set_driver_override(
        &self,
        device: PciAddress,
        driver: Option<&DriverName>,
    ) -> Result<(), HostError> {
        let operation = Operation::Override(driver.cloned());
        self.write(Write { device: Some(device), operation }, |kernel| {
            let text = driver.map_or("", DriverName::as_str);
            let what = (OpKind::Override, "driver_override", text);
            kernel.write_device(device, what, Step::Override(driver.cloned()), LOCK_LIMIT)
        })
    }

    fn unbind(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        let Some(driver) = self.with_kernel(|kernel| kernel.driver_of(device).cloned()) else {
            let exists = self.with_kernel(|kernel| kernel.exists(device));
            return if exists { Ok(()) } else { Err(gone(format!("device {device}"))) };
        };
        self.write(Write { device: Some(device), operation: Operation::Unbind(driver) }, |kernel| {
            let what = (OpKind::Unbind, "driver/unbind", &*device.to_string());
            kernel.write_device(device, what, Step::Unbind, deadline)
        })
    }

    fn probe(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        let found = self.with_kernel(|kernel| kernel.match_driver(device));
        self.write(Write { device: Some(device), operation: Operation::Probe(found) }, |kernel| {
            let what = (OpKind::Probe, "../../drivers_probe", &*device.to_string());
            kernel.write_device(device, what, Step::Probe, deadline)
        })
    }

    fn reset(&self, device: PciAddress, deadline: Duration) -> Result<(), HostError> {
        self.write(Write { device: Some(device), operation: Operation::Reset }, |kernel| {
            let what = (OpKind::Reset, "reset", "1");
            kernel.write_device(device, what, Step::Reset, deadline)
        })
    }

    fn best_vfio_driver(&self, device: PciAddress) -> Result<DriverName, HostError> {
        self.with_kernel(|kernel| {
            if kernel.exists(device) {
                Ok(kernel.best_vfio_driver(device))
            } else {
                Err(gone(format!("device {device}")))
            }
        })
    }

    fn load_driver(&self, driver: &DriverName, deadline: Duration) -> Result<(), HostError> {
        if self.with_kernel(|kernel| kernel.loaded.contains(driver)) {
            return Ok(());
        }
        let failed = |said: String| HostError::Process { program: "modprobe".into(), said };
        let operation = Operation::LoadDriver(driver.clone());
        self.write(Write { device: None, operation }, |kernel| {
            match kernel.meet_unlocked(OpKind::LoadDriver, None, deadline) {
                Ok(Met::Go(_)) if kernel.load_driver(driver) => Ok(()),
                Ok(Met::Go(_)) => Err(failed(format!("FATAL: Module {driver} not found"))),
                Ok(Met::Ignored) => Ok(()),
                Ok(Met::Refused(errno)) => {
                    Err(failed(format!("could not insert '{driver}': {}", io::Error::from(errno))))
                }
                Err(limit) => Err(HostError::Stuck { step: format!("modprobe {driver}"), limit }),
            }
        })
    }

    fn is_vfio_driver(&self, driver: &DriverName) -> bool {
        Kernel::is_vfio(driver)
    }

    fn set_netdev_mac(&self, device: PciAddress, mac: MacAddress) -> Result<(), HostError> {
        self.write(Write { device: Some(device), operation: Operation::NetdevMac(mac) }, |kernel| {
            match kernel.meet_unlocked(OpKind::NetdevMac, Some(device), LOCK_LIMIT) {
                Ok(Met::Go(_)) => kernel.set_netdev_mac(device, mac),
                Ok(Met::Ignored) => Ok(()),
                Ok(Met::Refused(errno)) => Err(HostError::Netlink {
                    doing: format!("set MAC {mac} of the netdev of {device}"),
                    text: None,
                    source: errno.into(),
                }),
                Err(limit) => {
                    let step = format!("setting the MAC of the netdev of {device}");
                    Err(HostError::Stuck { step, limit })
                }
            }
        })
    }

    fn vfio_group_holder(&self, group: u32) -> Result<Option<String>, HostError> {
        Ok(self.with_kernel(|kernel| {
            kernel.open_groups.get(&group).map(|open| open.holder.name.clone())
        }))
    }

    fn wait(&self, limit: Duration, done: &mut dyn FnMut() -> bool) -> bool {
        let mut waited = Duration::ZERO;
        loop {
            if done() {
                return true;
            }
            if waited >= limit {
                return false;
            }
            let step = LOOK.min(limit - waited);
            self.advance(step);
            waited += step;
        }
    }
}

impl DeviceTree for SimHost {
    fn outlines(&self) -> Result<Vec<Outline>, HostError> {
        Ok(self.with_kernel(|kernel| kernel.device_outlines()))
    }

    fn outline(&self, name: &str) -> Result<Option<Outline>, HostError> {
        Ok(self.with_kernel(|kernel| kernel.device_outline(name)))
    }

    fn device(&self, name: &str) -> Result<Option<NodeDevice>, HostError> {
        Ok(self.with_kernel(|kernel| kernel.node_device(name)))
    }
}
