//! Command lines: what is in them, and what no document can put into them.

use std::path::Path;

use vfnet_model::guest::{Address, Attachment, Form, LiveGuest, parse, print, print_with_secrets};
use vfnet_qemu::command_line::{Access, FIRST_FD, Resolved, SPARE_ROOT_PORTS, locked_memory, plan};

use crate::guests::{attachments, corpus, fixtures, lines, planned, ready, with_devices};

fn fixture(name: &str) -> String {
    let name = format!("{name}.xml");
    fixtures().into_iter().find(|(file, _)| *file == name).unwrap().1
}

fn snapshot_of(name: &str) -> String {
    lines(&planned(&ready(&fixture(name))).unwrap())
}

#[test]
fn a_guest_of_four_lines() {
    insta::assert_snapshot!(snapshot_of("smallest"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=smallest,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine pc,usb=off,dump-guest-core=off,acpi=off
-accel tcg
-m size=65536k
-smp 1,sockets=1,cores=1,threads=1
-uuid 00000000-0000-4001-8000-000000000002
-rtc base=utc
-action reboot=reset,shutdown=poweroff,panic=exit-failure
-boot strict=on
-device {"addr":"0x3.0x0","bus":"pci.0","driver":"virtio-balloon-pci","id":"balloon0"}
"#);
}

#[test]
fn a_guest_with_virtual_functions_and_firmware() {
    insta::assert_snapshot!(snapshot_of("virtual-function"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=web1,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-add-fd set=1,fd=101
-blockdev {"driver":"file","filename":"/dev/fdset/1","node-name":"pflash0-storage","read-only":true}
-blockdev {"driver":"raw","file":"pflash0-storage","node-name":"pflash0-format","read-only":true}
-add-fd set=2,fd=102
-blockdev {"driver":"file","filename":"/dev/fdset/2","node-name":"pflash1-storage","read-only":false}
-blockdev {"driver":"raw","file":"pflash1-storage","node-name":"pflash1-format","read-only":false}
-machine pc-q35-9.2,usb=off,dump-guest-core=off,vmport=off,hpet=off,pflash0=pflash0-format,pflash1=pflash1-format
-accel kvm
-cpu host,migratable=on,hv-relaxed=on,hv-vapic=on,hv-vpindex=off,kvm=off,kvmclock=on,hv-time=on,vmx=off,hv-spinlocks=0x1fff,tsc-frequency=2400000000
-m size=2097152k
-smp 4,sockets=1,dies=1,cores=2,threads=2
-uuid 8a3cf1d4-5f0e-4a5e-9a8e-0d3d6a8f5b10
-rtc base=localtime,driftfix=slew
-global kvm-pit.lost_tick_policy=delay
-action reboot=reset,shutdown=poweroff,panic=exit-failure
-boot strict=on
-device {"addr":"0x2.0x0","bus":"pcie.0","chassis":1,"driver":"pcie-root-port","id":"pci.1","multifunction":true,"port":16}
-device {"addr":"0x2.0x1","bus":"pcie.0","chassis":2,"driver":"pcie-root-port","id":"pci.2","port":17}
-device {"addr":"0x2.0x2","bus":"pcie.0","chassis":3,"driver":"pcie-root-port","id":"pci.3","port":18}
-device {"addr":"0x2.0x3","bus":"pcie.0","chassis":4,"driver":"pcie-root-port","id":"pci.4","port":19}
-device {"addr":"0x2.0x4","bus":"pcie.0","chassis":5,"driver":"pcie-root-port","id":"pci.5","port":20}
-device {"addr":"0x2.0x5","bus":"pcie.0","chassis":6,"driver":"pcie-root-port","id":"pci.6","port":21}
-device {"addr":"0x2.0x6","bus":"pcie.0","chassis":7,"driver":"pcie-root-port","id":"pci.7","port":22}
-device {"addr":"0x2.0x7","bus":"pcie.0","chassis":8,"driver":"pcie-root-port","id":"pci.8","port":23}
-add-fd set=3,fd=103
-blockdev {"aio":"native","cache":{"direct":true,"no-flush":false},"discard":"unmap","driver":"file","filename":"/dev/fdset/3","node-name":"vda-storage","read-only":false}
-blockdev {"cache":{"direct":true,"no-flush":false},"discard":"unmap","driver":"qcow2","file":"vda-storage","node-name":"vda-format","read-only":false}
-device {"addr":"0x0.0x0","bootindex":1,"bus":"pci.4","drive":"vda-format","driver":"virtio-blk-pci","id":"ua-root","serial":"WEB1-ROOT","write-cache":"on"}
-device {"addr":"0x0.0x0","bootindex":2,"bus":"pci.3","driver":"vfio-pci","host":"0000:01:10.0","id":"ua-fast"}
-device {"addr":"0x0.0x0","bus":"pci.1","driver":"vfio-pci","host":"0000:01:10.1","id":"hostdev1"}
-device {"addr":"0x0.0x0","bootindex":3,"bus":"pci.2","driver":"vfio-pci","host":"0000:81:00.0","id":"hostdev2"}
"#);
}

#[test]
fn a_guest_with_a_team() {
    insta::assert_snapshot!(snapshot_of("teaming"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=teaming,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine q35,usb=off,dump-guest-core=off,acpi=off
-accel tcg
-cpu max
-m size=65536k
-smp 1,sockets=1,cores=1,threads=1
-uuid 00000000-0000-4001-8000-000000000002
-rtc base=utc
-action reboot=reset,shutdown=poweroff,panic=exit-failure
-boot strict=on
-device {"addr":"0x2.0x0","bus":"pcie.0","chassis":1,"driver":"pcie-root-port","id":"pci.1","multifunction":true,"port":16}
-device {"addr":"0x2.0x1","bus":"pcie.0","chassis":2,"driver":"pcie-root-port","id":"pci.2","port":17}
-device {"addr":"0x2.0x2","bus":"pcie.0","chassis":3,"driver":"pcie-root-port","id":"pci.3","port":18}
-device {"addr":"0x2.0x3","bus":"pcie.0","chassis":4,"driver":"pcie-root-port","id":"pci.4","port":19}
-device {"addr":"0x2.0x4","bus":"pcie.0","chassis":5,"driver":"pcie-root-port","id":"pci.5","port":20}
-device {"addr":"0x2.0x5","bus":"pcie.0","chassis":6,"driver":"pcie-root-port","id":"pci.6","port":21}
-device {"addr":"0x2.0x6","bus":"pcie.0","chassis":7,"driver":"pcie-root-port","id":"pci.7","port":22}
-netdev {"downscript":"no","id":"hostua-standby","ifname":"tap0","script":"no","type":"tap"}
-device {"addr":"0x0.0x0","bus":"pci.1","driver":"virtio-net-pci","failover":true,"id":"ua-standby","mac":"52:54:00:00:00:07","netdev":"hostua-standby"}
-device {"addr":"0x0.0x0","bus":"pci.2","driver":"vfio-pci","failover_pair_id":"ua-standby","host":"0000:01:10.1","id":"hostdev0"}
-device {"addr":"0x0.0x0","bus":"pci.3","driver":"virtio-balloon-pci","id":"balloon0"}
"#);
}

#[test]
fn a_guest_with_every_disk() {
    insta::assert_snapshot!(snapshot_of("every-disk"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=every-disk,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine q35,usb=off,dump-guest-core=off,acpi=off
-accel tcg
-m size=65536k
-smp 1,sockets=1,cores=1,threads=1
-uuid 00000000-0000-4001-8000-000000000002
-rtc base=utc
-action reboot=reset,shutdown=poweroff,panic=exit-failure
-boot strict=on
-device {"addr":"0x2.0x0","bus":"pcie.0","chassis":1,"driver":"pcie-root-port","id":"pci.1","multifunction":true,"port":16}
-device {"addr":"0x2.0x1","bus":"pcie.0","chassis":2,"driver":"pcie-root-port","id":"pci.2","port":17}
-device {"addr":"0x2.0x2","bus":"pcie.0","chassis":3,"driver":"pcie-root-port","id":"pci.3","port":18}
-device {"addr":"0x2.0x3","bus":"pcie.0","chassis":4,"driver":"pcie-root-port","id":"pci.4","port":19}
-device {"addr":"0x2.0x4","bus":"pcie.0","chassis":5,"driver":"pcie-root-port","id":"pci.5","port":20}
-device {"addr":"0x2.0x5","bus":"pcie.0","chassis":6,"driver":"pcie-root-port","id":"pci.6","port":21}
-device {"addr":"0x2.0x6","bus":"pcie.0","chassis":7,"driver":"pcie-root-port","id":"pci.7","port":22}
-device {"addr":"0x2.0x7","bus":"pcie.0","chassis":8,"driver":"pcie-root-port","id":"pci.8","port":23}
-device {"addr":"0x3.0x0","bus":"pcie.0","chassis":9,"driver":"pcie-root-port","id":"pci.9","port":24}
-device {"addr":"0x0.0x0","bus":"pci.1","driver":"virtio-scsi-pci","id":"scsi1"}
-device {"addr":"0x0.0x0","bus":"pci.2","driver":"qemu-xhci","id":"usb","p2":15,"p3":15}
-device {"addr":"0x0.0x0","bus":"pci.3","driver":"virtio-scsi-pci","id":"scsi0"}
-add-fd set=1,fd=101
-blockdev {"aio":"threads","cache":{"direct":false,"no-flush":false},"driver":"file","filename":"/dev/fdset/1","node-name":"vda-storage","read-only":true}
-blockdev {"cache":{"direct":false,"no-flush":false},"driver":"raw","file":"vda-storage","node-name":"vda-format","read-only":true}
-device {"addr":"0x0.0x0","bootindex":2,"bus":"pci.4","drive":"vda-format","driver":"virtio-blk-pci","id":"virtio-disk0","write-cache":"off"}
-add-fd set=2,fd=102
-blockdev {"aio":"io_uring","cache":{"direct":true,"no-flush":false},"discard":"ignore","driver":"host_device","filename":"/dev/fdset/2","node-name":"sda-storage","read-only":false}
-blockdev {"cache":{"direct":true,"no-flush":false},"discard":"ignore","driver":"raw","file":"sda-storage","node-name":"sda-format","read-only":false}
-device {"bus":"ide.0","drive":"sda-format","driver":"ide-hd","id":"sata0-0-0","serial":"S1","write-cache":"off"}
-device {"bootindex":1,"bus":"ide.1","driver":"ide-cd","id":"sata0-0-1"}
-add-fd set=3,fd=103
-blockdev {"driver":"file","filename":"/dev/fdset/3","node-name":"sdc-storage","read-only":true}
-blockdev {"driver":"raw","file":"sdc-storage","node-name":"sdc-format","read-only":true}
-device {"bus":"scsi0.0","channel":0,"drive":"sdc-format","driver":"scsi-cd","id":"scsi0-0-0-0","lun":0,"scsi-id":0}
-add-fd set=4,fd=104
-blockdev {"cache":{"direct":false,"no-flush":true},"driver":"file","filename":"/dev/fdset/4","node-name":"sdd-storage","read-only":false}
-blockdev {"cache":{"direct":false,"no-flush":true},"driver":"qcow2","file":"sdd-storage","node-name":"sdd-format","read-only":false}
-device {"bus":"scsi1.0","channel":0,"drive":"sdd-format","driver":"scsi-hd","id":"scsi1-0-3-2","lun":2,"scsi-id":3,"write-cache":"on"}
-device {"addr":"0x0.0x0","bus":"pci.5","driver":"virtio-balloon-pci","id":"balloon0"}
"#);
}

/// The controllers and devices of a fixture's USB, on a machine.
fn usb_on(machine: &str) -> String {
    let text = fixture("usb-2").replace("q35", machine);
    let lines = lines(&planned(&ready(&text)).unwrap());
    let usb = lines.lines().filter(|line| line.contains("usb-"));
    usb.map(|line| format!("{line}\n")).collect()
}

#[test]
fn usb_2_controllers_share_a_slot_with_their_companions() {
    insta::assert_snapshot!(usb_on("q35"), @r#"
-name guest=usb-2,debug-threads=on
-device {"addr":"0x1d.0x7","bus":"pcie.0","driver":"ich9-usb-ehci1","id":"usb"}
-device {"addr":"0x1d.0x0","bus":"pcie.0","driver":"ich9-usb-uhci1","firstport":0,"masterbus":"usb.0","multifunction":true}
-device {"addr":"0x1d.0x1","bus":"pcie.0","driver":"ich9-usb-uhci2","firstport":2,"masterbus":"usb.0"}
-device {"addr":"0x1d.0x2","bus":"pcie.0","driver":"ich9-usb-uhci3","firstport":4,"masterbus":"usb.0"}
-device {"addr":"0x10.0x7","bus":"pcie.0","driver":"ich9-usb-ehci1","id":"usb1"}
-device {"addr":"0x10.0x0","bus":"pcie.0","driver":"ich9-usb-uhci1","firstport":0,"masterbus":"usb1.0","multifunction":true}
-device {"addr":"0x11.0x0","bus":"pcie.0","driver":"ich9-usb-ehci1","id":"usb2"}
-device {"bus":"usb.0","driver":"usb-tablet","id":"input0","port":"1"}
-device {"bus":"usb.0","driver":"usb-kbd","id":"input1","port":"2"}
"#);
    insta::assert_snapshot!(usb_on("pc"), @r#"
-name guest=usb-2,debug-threads=on
-device {"addr":"0x3.0x7","bus":"pci.0","driver":"ich9-usb-ehci1","id":"usb"}
-device {"addr":"0x3.0x0","bus":"pci.0","driver":"ich9-usb-uhci1","firstport":0,"masterbus":"usb.0","multifunction":true}
-device {"addr":"0x3.0x1","bus":"pci.0","driver":"ich9-usb-uhci2","firstport":2,"masterbus":"usb.0"}
-device {"addr":"0x3.0x2","bus":"pci.0","driver":"ich9-usb-uhci3","firstport":4,"masterbus":"usb.0"}
-device {"addr":"0x4.0x7","bus":"pci.0","driver":"ich9-usb-ehci1","id":"usb1"}
-device {"addr":"0x4.0x0","bus":"pci.0","driver":"ich9-usb-uhci1","firstport":0,"masterbus":"usb1.0","multifunction":true}
-device {"addr":"0x5.0x0","bus":"pci.0","driver":"ich9-usb-ehci1","id":"usb2"}
-device {"bus":"usb.0","driver":"usb-tablet","id":"input0","port":"1"}
-device {"bus":"usb.0","driver":"usb-kbd","id":"input1","port":"2"}
"#);
}

#[test]
fn a_guest_with_every_character_device() {
    insta::assert_snapshot!(snapshot_of("every-character-device"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=every-character-device,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine pc,usb=off,dump-guest-core=off,acpi=off
-accel tcg
-m size=65536k
-smp 1,sockets=1,cores=1,threads=1
-uuid 00000000-0000-4001-8000-000000000002
-rtc base=utc
-action reboot=shutdown,shutdown=pause,panic=pause
-boot strict=on
-device {"addr":"0x1f.0x0","bus":"pci.0","chassis_nr":1,"driver":"pci-bridge","id":"pci.1"}
-device {"addr":"0x3.0x0","bus":"pci.0","driver":"virtio-serial-pci","id":"virtio-serial0","max_ports":16,"vectors":4}
-chardev pty,id=charserial0
-device {"chardev":"charserial0","driver":"isa-serial","id":"serial0","index":0}
-add-fd set=1,fd=101
-chardev file,id=charserial1,path=/dev/fdset/1,append=on
-device {"chardev":"charserial1","driver":"isa-serial","id":"serial1","index":1}
-chardev socket,id=charserial2,path=/run/elsewhere,, near.sock
-device {"chardev":"charserial2","driver":"isa-serial","id":"serial2","index":2}
-chardev pty,id=charconsole1
-device {"bus":"virtio-serial0.0","chardev":"charconsole1","driver":"virtconsole","id":"console1","nr":1}
-chardev socket,id=charchannel0,fd=102,server=on,wait=off
-device {"bus":"virtio-serial0.0","chardev":"charchannel0","driver":"virtserialport","id":"channel0","name":"org.qemu.guest_agent.0","nr":2}
-chardev socket,id=charchannel1,fd=103,server=on,wait=off
-device {"bus":"virtio-serial0.0","chardev":"charchannel1","driver":"virtserialport","id":"channel1","name":"org.example.0","nr":5}
-chardev pty,id=charchannel2
-device {"bus":"virtio-serial0.0","chardev":"charchannel2","driver":"virtserialport","id":"channel2","name":"org.example.1","nr":3}
-device {"addr":"0x4.0x0","bus":"pci.0","driver":"virtio-balloon-pci","id":"balloon0"}
-object {"id":"objrng0","qom-type":"rng-builtin"}
-device {"addr":"0x5.0x0","bus":"pci.0","driver":"virtio-rng-pci","id":"rng0","rng":"objrng0"}
"#);
}

#[test]
fn a_guest_with_a_display() {
    insta::assert_snapshot!(snapshot_of("display"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=display,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine q35,usb=off,dump-guest-core=off
-accel tcg
-cpu qemu64,x2apic=on,rdrand=on,enforce=on
-m size=65536k
-smp 2,sockets=2,cores=1,threads=1
-uuid 00000000-0000-4001-8000-000000000002
-rtc base=utc
-action reboot=reset,shutdown=poweroff,panic=exit-failure
-boot strict=on
-device {"addr":"0x2.0x0","bus":"pcie.0","chassis":1,"driver":"pcie-root-port","id":"pci.1","multifunction":true,"port":16}
-device {"addr":"0x2.0x1","bus":"pcie.0","chassis":2,"driver":"pcie-root-port","id":"pci.2","port":17}
-device {"addr":"0x2.0x2","bus":"pcie.0","chassis":3,"driver":"pcie-root-port","id":"pci.3","port":18}
-device {"addr":"0x2.0x3","bus":"pcie.0","chassis":4,"driver":"pcie-root-port","id":"pci.4","port":19}
-device {"addr":"0x2.0x4","bus":"pcie.0","chassis":5,"driver":"pcie-root-port","id":"pci.5","port":20}
-device {"addr":"0x2.0x5","bus":"pcie.0","chassis":6,"driver":"pcie-root-port","id":"pci.6","port":21}
-device {"addr":"0x2.0x6","bus":"pcie.0","chassis":7,"driver":"pcie-root-port","id":"pci.7","port":22}
-device {"addr":"0x2.0x7","bus":"pcie.0","chassis":8,"driver":"pcie-root-port","id":"pci.8","port":23}
-device {"addr":"0x0.0x0","bus":"pci.1","driver":"qemu-xhci","id":"usb"}
-vnc 127.0.0.1:0,to=999,password=on
-k en-us
-device {"bus":"usb.0","driver":"usb-tablet","id":"input0","port":"2"}
-device {"addr":"0x0.0x0","bus":"pci.4","driver":"virtio-keyboard-pci","id":"input1"}
-device {"addr":"0x1.0x0","bus":"pcie.0","driver":"virtio-vga","id":"video0","max_outputs":2}
-device {"addr":"0x0.0x0","bus":"pci.2","driver":"virtio-balloon-pci","id":"balloon0"}
-add-fd set=1,fd=101
-object {"filename":"/dev/fdset/1","id":"objrng0","qom-type":"rng-random"}
-device {"addr":"0x0.0x0","bus":"pci.3","driver":"virtio-rng-pci","id":"rng0","max-bytes":1024,"period":1000,"rng":"objrng0"}
"#);
}

#[test]
fn a_guest_with_a_kernel() {
    insta::assert_snapshot!(snapshot_of("direct-kernel"), @r#"
-chardev socket,id=charmonitor,fd=100,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-name guest=direct-kernel,debug-threads=on
-S
-no-user-config
-nodefaults
-display none
-msg timestamp=on
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine pc,usb=off,dump-guest-core=off,acpi=off
-accel tcg
-m size=65536k
-smp 1,sockets=1,dies=1,cores=1,threads=1
-uuid 00000000-0000-4001-8000-000000000002
-rtc base=utc
-action reboot=reset,shutdown=poweroff,panic=exit-failure
-boot strict=on
-kernel /boot/vmlinuz, the newest
-initrd /boot/initrd.img
-append console=ttyS0 quiet,splash "a b"
-device {"addr":"0x3.0x0","bus":"pci.0","driver":"virtio-balloon-pci","id":"balloon0"}
"#);
}

#[test]
fn descriptors_are_numbered_without_a_gap_from_the_monitor_on() {
    for (name, text) in fixtures() {
        let plan = planned(&ready(&text)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(plan.sockets[0].path, Path::new("/run/g/qmp"), "{name}");
        let mut fds: Vec<i32> = plan.files.iter().map(|file| file.fd).collect();
        fds.extend(plan.sockets.iter().map(|socket| socket.fd));
        fds.sort_unstable();
        let wanted: Vec<i32> = (FIRST_FD..).take(fds.len()).collect();
        assert_eq!(fds, wanted, "{name}");
        let words = lines(&plan);
        for file in &plan.files {
            assert!(words.contains(&format!("set={},fd={}", file.fdset, file.fd)), "{name}");
            assert!(words.contains(&format!("/dev/fdset/{}", file.fdset)), "{name}");
        }
        for socket in &plan.sockets {
            assert!(words.contains(&format!("fd={},server=on", socket.fd)), "{name}");
        }
    }
}

#[test]
fn files_are_opened_for_what_is_done_with_them() {
    let plan = planned(&with_devices(
        "q35",
        "<disk type='file'><source file='/rw'/><target dev='vda'/></disk>\
         <disk type='file'><source file='/ro'/><target dev='vdb'/><readonly/></disk>\
         <disk type='file' device='cdrom'><source file='/cd'/><target dev='sda' bus='sata'/></disk>\
         <serial type='file'><source path='/new'/></serial>\
         <serial type='file'><source path='/more' append='on'/></serial>",
    ))
    .unwrap();
    let opened: Vec<_> =
        plan.files.iter().map(|it| (it.path.to_str().unwrap(), it.access)).collect();
    assert_eq!(
        opened,
        [
            ("/rw", Access::ReadWrite),
            ("/ro", Access::Read),
            ("/cd", Access::Read),
            ("/new", Access::Replace),
            ("/more", Access::Append),
        ]
    );
}

#[test]
fn no_text_of_the_users_becomes_an_option() {
    let evil = "/x,if=none\n-device {\"driver\":\"vfio-pci\"},id=y'\"\\ é";
    let xml = vfnet_model::xml::escape(evil).into_owned();
    let text = format!(
        "<domain type='qemu'><name>a,debug-threads=off,b</name><memory>65536</memory>\
         <os><type>hvm</type><kernel>{xml}</kernel><cmdline>{xml}</cmdline></os><devices>\
         <disk type='file'><source file='{}'/><target dev='vda'/></disk>\
         <serial type='file'><source path='{0}'/></serial>\
         <serial type='unix'><source mode='connect' path='{0}'/></serial>\
         <interface type='bridge'><source bridge='br0'/></interface></devices></domain>",
        xml.replace('\n', "&#10;")
    );
    let guest = ready(&text);
    let interfaces = [Attachment::Bridge {
        bridge: "br0".parse().unwrap(),
        tap: "t,script=x".parse().unwrap(),
        port: None,
    }];
    let resolved = Resolved {
        interfaces: &interfaces,
        qmp: Path::new("/q"),
        run_dir: Path::new("/g"),
        spare_root_ports: SPARE_ROOT_PORTS,
    };
    let plan = plan(&guest, resolved).unwrap();
    let args: Vec<&str> = plan.args.iter().map(|arg| arg.to_str().unwrap()).collect();
    let after = |option: &str| {
        let place = args.iter().position(|arg| *arg == option).unwrap();
        args[place + 1]
    };
    assert_eq!(after("-name"), "guest=a,,debug-threads=off,,b,debug-threads=on");
    assert_eq!(after("-kernel"), evil);
    assert_eq!(after("-append"), evil);
    assert_eq!(plan.files[0].path, Path::new(evil));
    assert_eq!(plan.files[1].path, Path::new(evil));
    let netdev: serde_json::Value = serde_json::from_str(after("-netdev")).unwrap();
    assert_eq!(netdev["ifname"], "t,script=x");
    assert_eq!(netdev["script"], "no");
    let socket = args.iter().find(|arg| arg.starts_with("socket,id=charserial1")).unwrap();
    assert_eq!(*socket, format!("socket,id=charserial1,path={}", evil.replace(',', ",,")));
    // Elsewhere the text is nowhere: files go by their number.
    let named = args.iter().filter(|arg| arg.contains("vfio-pci")).count();
    assert_eq!(named, 3);
}

#[test]
fn another_disk_moves_no_card() {
    let nics = "<interface type='network'><source network='hw'/></interface>\
                <interface type='bridge'><source bridge='b'/><model type='virtio'/></interface>\
                <interface type='bridge'><source bridge='b'/></interface>\
                <hostdev mode='subsystem' type='pci'><source><address bus='0x81'/></source>\
                </hostdev>";
    let disks = "<disk type='file'><source file='/x'/><target dev='vda'/></disk>\
                 <disk type='file'><source file='/y'/><target dev='sda' bus='scsi'/></disk>\
                 <channel type='pty'><target type='virtio'/></channel>";
    for machine in ["q35", "pc"] {
        let places = |devices: &str| {
            let plan = planned(&with_devices(machine, devices)).unwrap();
            let cards = plan.guest.interfaces.into_iter().map(|it| it.placement.address.unwrap());
            let hostdevs = plan.guest.hostdevs.into_iter().map(|it| it.placement.address.unwrap());
            cards.chain(hostdevs).collect::<Vec<_>>()
        };
        assert_eq!(places(nics), places(&format!("{disks}{nics}")), "{machine}");
    }
}

#[test]
fn every_express_device_has_a_root_port_of_its_own_and_some_are_spare() {
    let plan = planned(&ready(&fixture("virtual-function"))).unwrap();
    let mut buses: Vec<u8> = Vec::new();
    for placement in plan
        .guest
        .interfaces
        .iter()
        .map(|it| &it.placement)
        .chain(plan.guest.hostdevs.iter().map(|it| &it.placement))
    {
        let Some(Address::Pci { at, .. }) = &placement.address else { panic!("{placement:?}") };
        assert_eq!(at.slot(), 0);
        buses.push(at.bus());
    }
    // The first one's address is the document's.
    assert_eq!(buses, [3, 1, 2]);
    let words = lines(&plan);
    // Three cards, the disk, and the spare ones.
    assert_eq!(words.matches("\"pcie-root-port\"").count(), 4 + usize::from(SPARE_ROOT_PORTS));
}

#[test]
fn an_address_is_given_once() {
    let at = |slot: &str| {
        format!(
            "<rng model='virtio'><backend model='builtin'/>\
             <address type='pci' bus='0x00' slot='{slot}' function='0x0'/></rng>"
        )
    };
    for (machine, slots) in [("pc", ["5", "5"]), ("pc", ["1", "6"]), ("q35", ["0x1f", "6"])] {
        let devices: String = slots.iter().map(|slot| at(slot)).collect();
        let fault = planned(&with_devices(machine, &devices)).unwrap_err();
        assert!(fault.to_string().contains("is taken"), "{fault}");
    }
    let serial = "<channel type='pty'><target type='virtio'/>\
                  <address type='virtio-serial' port='2'/></channel>";
    let fault = planned(&with_devices("pc", &serial.repeat(2))).unwrap_err();
    assert!(fault.to_string().contains("port 2"), "{fault}");
}

#[test]
fn a_pc_that_is_full_gets_bridges() {
    let rngs = |count: usize| "<rng model='virtio'><backend model='builtin'/></rng>".repeat(count);
    for (count, bridges) in [(28, 0), (29, 1), (58, 1), (59, 2)] {
        let plan = planned(&with_devices("pc", &rngs(count))).unwrap();
        assert_eq!(lines(&plan).matches("\"pci-bridge\"").count(), bridges, "{count}");
    }
    assert_eq!(planned(&with_devices("q35", &rngs(60))).unwrap().guest.rngs.len(), 60);
    let fault = planned(&with_devices("q35", &rngs(200))).unwrap_err();
    assert!(fault.to_string().contains("PCI slots"), "{fault}");
}

#[test]
fn a_team_that_became_something_else_is_refused() {
    let text = fixture("teaming");
    let swapped = text.replace("network='hw'", "network='plain'");
    let fault = planned(&ready(&swapped)).unwrap_err();
    assert!(fault.to_string().contains("needs a hostdev network"), "{fault}");
}

#[test]
fn a_guest_that_is_not_filled_in_is_not_planned() {
    let guest = parse(&fixture("smallest")).unwrap();
    let fault = planned(&guest).unwrap_err();
    assert_eq!(fault.to_string(), "guest smallest is not ready to start: it lacks an emulator");
    let guest = ready(&fixture("teaming"));
    let resolved = Resolved {
        interfaces: &[],
        qmp: Path::new("/q"),
        run_dir: Path::new("/g"),
        spare_root_ports: SPARE_ROOT_PORTS,
    };
    let fault = plan(&guest, resolved).unwrap_err();
    assert!(fault.to_string().contains("each of its interfaces"), "{fault}");
}

#[test]
fn memory_is_from_the_hosts_nodes_that_the_document_says() {
    let objects = |numatune: &str, cpu: &str| {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>65536</memory><vcpu>2</vcpu>\
             <numatune>{numatune}</numatune><os><type machine='q35'>hvm</type></os>{cpu}</domain>"
        );
        let plan = planned(&ready(&text)).unwrap();
        let args: Vec<String> =
            plan.args.iter().map(|arg| arg.to_str().unwrap().to_owned()).collect();
        let objects = args.iter().filter(|arg| arg.contains("memory-backend-ram"));
        let of = |object: &String| {
            let object: serde_json::Value = serde_json::from_str(object).unwrap();
            format!("{} {} {}", object["id"], object["policy"], object["host-nodes"])
        };
        let named = args.iter().any(|arg| arg.contains("=pc.ram"));
        (objects.map(of).collect::<Vec<_>>(), named)
    };
    let (whole, named) = objects("<memory mode='strict' nodeset='0-1,3'/>", "");
    assert_eq!((whole, named), (vec![r#""pc.ram" "bind" [0,1,3]"#.to_owned()], true));
    let cells = "<cpu><numa><cell id='0' cpus='0' memory='32768'/>\
                 <cell id='1' cpus='1' memory='32768'/></numa></cpu>";
    let tune = "<memory mode='interleave' nodeset='0-1'/>\
                <memnode cellid='1' mode='preferred' nodeset='1'/>";
    let expected = [r#""ram-node0" "interleave" [0,1]"#, r#""ram-node1" "preferred" [1]"#];
    assert_eq!(objects(tune, cells), (expected.map(str::to_owned).to_vec(), false));
    let one = "<memnode cellid='1' mode='strict' nodeset='0'/>";
    let expected = [r#""ram-node0" null null"#, r#""ram-node1" "bind" [0]"#];
    assert_eq!(objects(one, cells).0, expected);
}

#[test]
fn memory_is_locked_for_passthrough_alone() {
    let plain = ready(&fixture("smallest"));
    assert_eq!(locked_memory(&plain, &[]), None);
    let guest = ready(&fixture("virtual-function"));
    assert_eq!(locked_memory(&guest, &attachments(&guest)), Some((2 << 30) + (1 << 30)));
}

#[test]
fn what_the_command_line_cannot_say_is_left_for_the_monitor() {
    let team = planned(&ready(&fixture("teaming"))).unwrap();
    assert_eq!(team.before_run.links_down, ["ua-standby"]);
    let display = planned(&ready(&fixture("display"))).unwrap();
    assert_eq!(display.before_run.vnc_password.as_ref().unwrap().reveal(), "secret");
    assert!(!format!("{display:?}").contains("secret"));
    assert!(!lines(&display).contains("secret"));
    let text = fixture("smallest").replace("<os>", "<currentMemory>32768</currentMemory><os>");
    assert_eq!(planned(&ready(&text)).unwrap().before_run.balloon, Some(32 << 20));
}

#[test]
fn a_running_guests_document_shows_where_everything_is() {
    let text = fixture("every-character-device");
    let plan = planned(&ready(&text)).unwrap();
    let live = LiveGuest { id: 1, ..LiveGuest::default() };
    let printed = print(&plan.guest, Form::Live(&live));
    let from = printed.find("<channel").unwrap();
    let to = printed.find("<input").unwrap();
    insta::assert_snapshot!(&printed[from..to], @r#"
<channel type='unix'>
      <source mode='bind' path='/run/g/guest/channel0.sock'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
      <alias name='channel0'/>
      <address type='virtio-serial' controller='0' bus='0' port='2'/>
    </channel>
    <channel type='unix'>
      <source mode='bind' path='/srv/channel.sock'/>
      <target type='virtio' name='org.example.0'/>
      <alias name='channel1'/>
      <address type='virtio-serial' controller='0' bus='0' port='5'/>
    </channel>
    <channel type='pty'>
      <target type='virtio' name='org.example.1'/>
      <alias name='channel2'/>
      <address type='virtio-serial' controller='0' bus='0' port='3'/>
    </channel>
"#);
}

/// What `virsh dumpxml | virsh define` of a running guest comes to.
#[test]
fn a_running_guests_document_makes_the_same_command_line() {
    let documents = fixtures().into_iter().chain(corpus());
    for (name, text) in documents {
        let Ok(mut guest) = parse(&text) else { continue };
        guest.fill_in(&mut || 7);
        let interfaces = attachments(&guest);
        let resolved = |interfaces| Resolved {
            interfaces,
            qmp: Path::new("/run/g/qmp"),
            run_dir: Path::new("/run/g/guest"),
            spare_root_ports: SPARE_ROOT_PORTS,
        };
        // What is refused has its reason told where the corpus is counted.
        let Ok(first) = plan(&guest, resolved(&interfaces)) else { continue };
        let live = LiveGuest { id: 1, interfaces: interfaces.clone(), ..LiveGuest::default() };
        let printed = print_with_secrets(&first.guest, Form::Live(&live));
        let mut again = parse(&printed).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        again.fill_in(&mut || panic!("nothing is left to draw"));
        let second = plan(&again, resolved(&interfaces)).unwrap();
        assert_eq!(lines(&second), lines(&first), "{name}");
    }
}
