//! References to networks, guests, ports, node devices, pools and volumes, as they travel.

use uuid::Uuid;

use crate::xdr::{List, Reader, Text, Xdr, XdrError, xdr};

/// The most networks, guests, ports, pools or volumes in one answer.
pub const OBJECTS_MAX: usize = 16_384;
/// The most node devices in one answer.
pub const NODE_DEVICES_MAX: usize = 65_536;

xdr! {
    /// A guest. Peers find it by its UUID; name and id are for people.
    pub struct Domain {
        /// Its name.
        pub name: Text,
        /// Its UUID.
        pub uuid: Uuid,
        /// Its number while it runs, else -1.
        pub id: i32,
    }

    /// A network.
    pub struct Network {
        /// Its name.
        pub name: Text,
        /// Its UUID.
        pub uuid: Uuid,
    }

    /// A port of a network: one guest interface's claim.
    pub struct NetworkPort {
        /// The network.
        pub network: Network,
        /// The port's UUID.
        pub uuid: Uuid,
    }

    /// A device of the host.
    pub struct NodeDevice {
        /// Its name, such as `pci_0000_81_10_1`.
        pub name: Text,
    }

    /// A storage pool. Peers find it by its UUID; the name is for people.
    pub struct StoragePool {
        /// Its name.
        pub name: Text,
        /// Its UUID.
        pub uuid: Uuid,
    }

    /// A volume of a storage pool.
    pub struct StorageVol {
        /// The pool's name.
        pub pool: Text,
        /// Its name in the pool.
        pub name: Text,
        /// What it is known by without its pool; of a file, its path.
        pub key: Text,
    }

    /// What the calls that list objects take.
    pub struct ListArgs {
        /// 0 when only the number is wanted.
        pub need_results: i32,
        /// Filters, see [`flags`](crate::flags).
        pub flags: u32,
    }
}

/// What the calls that list objects answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T, const MAX: usize> {
    /// The objects, none when only their number was asked for.
    pub objects: List<T, MAX>,
    /// How many there are.
    pub count: u32,
}

impl<T, const MAX: usize> Listed<T, MAX> {
    /// The answer to a [`ListArgs`]: objects only if they are wanted.
    pub fn answer(args: &ListArgs, objects: List<T, MAX>) -> Self {
        let count = u32::try_from(objects.len()).unwrap_or(u32::MAX);
        let objects = if args.need_results == 0 { List::empty() } else { objects };
        Self { objects, count }
    }
}

impl<T: Xdr, const MAX: usize> Xdr for Listed<T, MAX> {
    fn put(&self, out: &mut Vec<u8>) {
        self.objects.put(out);
        self.count.put(out);
    }

    fn get(input: &mut Reader<'_>) -> Result<Self, XdrError> {
        Ok(Self { objects: Xdr::get(input)?, count: Xdr::get(input)? })
    }
}

#[cfg(test)]
impl<T: crate::xdr::sample::Sample, const MAX: usize> crate::xdr::sample::Sample
    for Listed<T, MAX>
{
    fn strategy() -> proptest::strategy::BoxedStrategy<Self> {
        use proptest::strategy::Strategy as _;
        (List::strategy(), u32::strategy())
            .prop_map(|(objects, count)| Self { objects, count })
            .boxed()
    }
}
