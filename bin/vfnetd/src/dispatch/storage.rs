//! Storage pools and volumes: the table of the calls about them. What they are is in
//! [`pools`](crate::pools).

use uuid::Uuid;
use vfnet_model::storage::{Pool, Volume, parse_pool, print_pool, print_volume};
use vfnet_rpc::error::{ErrorCode, ErrorDomain, WireError};
use vfnet_rpc::flags::{
    CONNECT_LIST_STORAGE_POOLS_ACTIVE as ACTIVE, CONNECT_LIST_STORAGE_POOLS_AUTOSTART as AUTOSTART,
    CONNECT_LIST_STORAGE_POOLS_DIR as DIR, CONNECT_LIST_STORAGE_POOLS_INACTIVE as INACTIVE,
    CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART as NO_AUTOSTART,
    CONNECT_LIST_STORAGE_POOLS_PERSISTENT as PERSISTENT,
    CONNECT_LIST_STORAGE_POOLS_TRANSIENT as TRANSIENT, STORAGE_VOL_GET_PHYSICAL,
    STORAGE_XML_INACTIVE, storage_pool_state,
};
use vfnet_rpc::objects::{ListArgs, Listed, StoragePool, StorageVol};
use vfnet_rpc::remote::{Call, StoragePoolInfo, StorageVolInfo};

use super::flags::{BUILD_POOL, STORAGE_POOL_TYPES as TYPES};
use super::{Outcome, count, flag, list, room, text};
use crate::pools::{By, Known};
use crate::{Daemon, wire_error};

fn object(pool: &Pool) -> StoragePool {
    StoragePool { name: text(pool.name.as_str()), uuid: pool.uuid }
}

fn by(pool: &StoragePool) -> By {
    By::Uuid(pool.uuid)
}

fn found(daemon: &Daemon, by: &By) -> Result<Known, WireError> {
    daemon.pools.find(by).map_err(|fault| wire_error::pool(&fault))
}

fn vol(pool: &Pool, name: &str) -> StorageVol {
    let key = pool.directory.file(name);
    StorageVol { pool: text(pool.name.as_str()), name: text(name), key: text(key) }
}

/// The volume that a client means.
async fn of(daemon: &Daemon, vol: &StorageVol) -> Result<Volume, WireError> {
    let by = By::Name(vol.pool.to_string());
    daemon.pools.volume(&by, &vol.name).await.map(|(_, volume)| volume)
}

/// Whether a pool is among those that the flags ask for. All are directories.
fn is_wanted(known: &Known, flags: u32) -> bool {
    let life = known.life;
    let one = |is: bool, yes, no| if is { yes } else { no };
    [
        (ACTIVE | INACTIVE, one(life.is_active(), ACTIVE, INACTIVE)),
        (PERSISTENT | TRANSIENT, one(life.is_kept(), PERSISTENT, TRANSIENT)),
        (AUTOSTART | NO_AUTOSTART, one(life.has_autostart(), AUTOSTART, NO_AUTOSTART)),
        (TYPES, DIR),
    ]
    .into_iter()
    .all(|(group, own)| flags & group == 0 || flags & own != 0)
}

async fn parsed(xml: &str) -> Result<Pool, WireError> {
    let pool = super::parsed(xml, |xml| parse_pool(xml, Uuid::new_v4())).await?;
    pool.map_err(|fault| wire_error::document(ErrorDomain::Storage, &fault))
}

/// A pool is a directory that is there.
fn is_there(flags: u32) -> Result<(), WireError> {
    if flags & BUILD_POOL == 0 {
        return Ok(());
    }
    let detail = "building a pool: its directory has to be there";
    Err(WireError::new(ErrorDomain::Storage, ErrorCode::ArgumentUnsupported, detail))
}

async fn document(daemon: &Daemon, pool: &StoragePool, flags: u32) -> Result<String, WireError> {
    let known = found(daemon, &by(pool))?;
    let usage = match flags & STORAGE_XML_INACTIVE {
        0 => daemon.pools.usage(&known).await?,
        _ => vfnet_model::storage::Usage::default(),
    };
    Ok(print_pool(&known.pool, usage))
}

async fn info(daemon: &Daemon, pool: &StoragePool) -> Result<StoragePoolInfo, WireError> {
    let known = found(daemon, &by(pool))?;
    let usage = daemon.pools.usage(&known).await?;
    Ok(StoragePoolInfo {
        state: match known.life.is_active() {
            true => storage_pool_state::RUNNING,
            false => storage_pool_state::INACTIVE,
        },
        capacity: usage.capacity,
        allocation: usage.allocation,
        available: usage.available,
    })
}

fn info_of(volume: &Volume, flags: u32) -> StorageVolInfo {
    let allocation =
        if flags & STORAGE_VOL_GET_PHYSICAL == 0 { volume.allocation } else { volume.physical };
    StorageVolInfo { kind: 0, capacity: volume.image.capacity, allocation }
}

/// Serves a call about pools and volumes.
pub(super) async fn serve(daemon: &Daemon, call: Call) -> Outcome {
    let pools = &daemon.pools;
    Ok(match call {
        Call::ConnectListAllStoragePools(args, a) => {
            let all = pools.all();
            let wanted = all.iter().filter(|known| is_wanted(known, args.flags));
            let wanted = wanted.map(|known| object(&known.pool)).collect();
            a.with(&Listed::answer(&args, list(wanted)))
        }
        Call::StoragePoolLookupByName(name, a) => {
            a.with(&object(&found(daemon, &By::Name(name.to_string()))?.pool))
        }
        Call::StoragePoolLookupByUuid(uuid, a) => {
            a.with(&object(&found(daemon, &By::Uuid(uuid))?.pool))
        }
        Call::StoragePoolLookupByVolume(vol, a) => {
            a.with(&object(&found(daemon, &By::Name(vol.pool.to_string()))?.pool))
        }
        Call::StoragePoolLookupByTargetPath(path, a) => {
            a.with(&object(&found(daemon, &By::Directory(path.to_string()))?.pool))
        }
        Call::StoragePoolDefineXml(args, a) => {
            a.with(&object(&pools.define(parsed(&args.xml).await?).await?))
        }
        Call::StoragePoolCreateXml(args, a) => {
            is_there(args.flags)?;
            a.with(&object(&pools.create(parsed(&args.xml).await?).await?))
        }
        Call::StoragePoolCreate(args, a) => {
            is_there(args.flags)?;
            pools.start(by(&args.pool)).await.map(|()| a.done())?
        }
        Call::StoragePoolDestroy(pool, a) => pools.destroy(by(&pool)).await.map(|()| a.done())?,
        Call::StoragePoolUndefine(pool, a) => pools.undefine(by(&pool)).await.map(|()| a.done())?,
        // Every call looks at the directory as it is: this one says whether it can.
        Call::StoragePoolRefresh(args, a) => {
            pools.names(&by(&args.pool)).await.map(|_| a.done())?
        }
        Call::StoragePoolGetInfo(pool, a) => a.with(&info(daemon, &pool).await?),
        Call::StoragePoolGetXmlDesc(args, a) => {
            a.with(&text(document(daemon, &args.pool, args.flags).await?))
        }
        Call::StoragePoolGetAutostart(pool, a) => {
            a.with(&flag(found(daemon, &by(&pool))?.life.has_autostart()))
        }
        Call::StoragePoolSetAutostart(args, a) => {
            pools.set_autostart(by(&args.pool), args.autostart != 0).await.map(|()| a.done())?
        }
        Call::StoragePoolIsActive(pool, a) => {
            a.with(&flag(found(daemon, &by(&pool))?.life.is_active()))
        }
        Call::StoragePoolIsPersistent(pool, a) => {
            a.with(&flag(found(daemon, &by(&pool))?.life.is_kept()))
        }
        Call::StoragePoolNumOfVolumes(pool, a) => a.with(&count(&pools.names(&by(&pool)).await?.1)),
        Call::StoragePoolListVolumes(args, a) => {
            let (_, names) = pools.names(&by(&args.pool)).await?;
            a.with(&list(room(names, args.room).into_iter().map(text).collect()))
        }
        Call::StoragePoolListAllVolumes(args, a) => {
            let (pool, names) = pools.names(&by(&args.pool)).await?;
            let vols = names.iter().map(|name| vol(&pool, name)).collect();
            let of = ListArgs { need_results: args.need_results, flags: 0 };
            a.with(&Listed::answer(&of, list(vols)))
        }
        Call::StorageVolLookupByName(args, a) => {
            let (pool, volume) = pools.volume(&by(&args.pool), &args.name).await?;
            a.with(&vol(&pool, &volume.name))
        }
        Call::StorageVolLookupByKey(key, a) => a.with(&at(daemon, &key).await?),
        Call::StorageVolLookupByPath(path, a) => a.with(&at(daemon, &path).await?),
        Call::StorageVolGetInfo(vol, a) => a.with(&info_of(&of(daemon, &vol).await?, 0)),
        Call::StorageVolGetInfoFlags(args, a) => {
            a.with(&info_of(&of(daemon, &args.vol).await?, args.flags))
        }
        Call::StorageVolGetXmlDesc(args, a) => {
            a.with(&text(print_volume(&of(daemon, &args.vol).await?)))
        }
        Call::StorageVolGetPath(vol, a) => a.with(&text(of(daemon, &vol).await?.path)),
        other => return Err(WireError::no_support(other.facts().name)),
    })
}

/// The volume of a path.
async fn at(daemon: &Daemon, path: &str) -> Result<StorageVol, WireError> {
    let (pool, volume) = daemon.pools.volume_at(path).await?;
    Ok(vol(&pool, &volume.name))
}
