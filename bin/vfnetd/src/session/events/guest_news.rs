//! Messages about what happens to guests and decides nothing.

use vfnet_rpc::flags::{agent_reason, agent_state, domain_event, io_error_action, watchdog_action};
use vfnet_rpc::frame::Frame;
use vfnet_rpc::objects::Domain;
use vfnet_rpc::remote::{
    DomainAgentLifecycle, DomainBalloonChanged, DomainEventAgentLifecycle,
    DomainEventBalloonChange, DomainEventControlError, DomainEventIoError,
    DomainEventIoErrorReason, DomainEventRtcChange, DomainEventWatchdog, DomainIoError,
    DomainIoErrorReason, DomainRebooted, DomainRtcChanged, DomainWatchdog,
};
use vfnet_rpc::server::event;
use vfnet_rpc::xdr::Text;

use super::{Listener, guest, wanted};
use crate::guests::{GuestNews, News};

/// A kind of event that such news make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum NewsEvent {
    Clock,
    Watchdog,
    IoError,
    IoErrorReason,
    ControlError,
    Balloon,
    Agent,
}

impl NewsEvent {
    pub(super) const fn of(number: i32) -> Option<Self> {
        Some(match number {
            domain_event::RTC_CHANGE => Self::Clock,
            domain_event::WATCHDOG => Self::Watchdog,
            domain_event::IO_ERROR => Self::IoError,
            domain_event::IO_ERROR_REASON => Self::IoErrorReason,
            domain_event::CONTROL_ERROR => Self::ControlError,
            domain_event::BALLOON_CHANGE => Self::Balloon,
            domain_event::AGENT_LIFECYCLE => Self::Agent,
            _ => return None,
        })
    }
}

/// What a registration is sent of news, if anything.
pub(super) fn message(callback: i32, listener: &Listener, told: &GuestNews) -> Option<Frame> {
    let Listener::GuestNews(of, kind) = *listener else { return None };
    let domain = wanted(of, told.guest).then(|| guest(&told.name, told.guest, told.id))?;
    Some(match (kind, &told.news) {
        (NewsEvent::Clock, News::Clock(offset)) => {
            let body = DomainRtcChanged { callback, domain, offset: *offset };
            event::<DomainEventRtcChange>(&body)
        }
        (NewsEvent::Watchdog, News::Watchdog(action)) => {
            let body = DomainWatchdog { callback, domain, action: watchdog(action) };
            event::<DomainEventWatchdog>(&body)
        }
        (NewsEvent::IoError, News::IoError { .. }) => {
            event::<DomainEventIoError>(&io_error(callback, domain, &told.news)?)
        }
        (NewsEvent::IoErrorReason, News::IoError { no_space, .. }) => {
            let reason = Text::clipped(if *no_space { "enospc" } else { "" });
            let error = io_error(callback, domain, &told.news)?;
            event::<DomainEventIoErrorReason>(&DomainIoErrorReason { error, reason })
        }
        (NewsEvent::ControlError, News::MonitorLost) => {
            event::<DomainEventControlError>(&DomainRebooted { callback, domain })
        }
        (NewsEvent::Balloon, News::Balloon(kib)) => {
            let body = DomainBalloonChanged { callback, domain, actual: *kib };
            event::<DomainEventBalloonChange>(&body)
        }
        (NewsEvent::Agent, News::Agent(is_there)) => {
            let state = if *is_there { agent_state::CONNECTED } else { agent_state::DISCONNECTED };
            let body =
                DomainAgentLifecycle { callback, domain, state, reason: agent_reason::CHANNEL };
            event::<DomainEventAgentLifecycle>(&body)
        }
        _ => return None,
    })
}

fn io_error(callback: i32, domain: Domain, news: &News) -> Option<DomainIoError> {
    let News::IoError { source, alias, action, .. } = news else { return None };
    let action = match action.as_str() {
        "report" => io_error_action::REPORT,
        "stop" => io_error_action::PAUSE,
        _ => io_error_action::NONE,
    };
    let (source, alias) = (Text::clipped(source), Text::clipped(alias));
    Some(DomainIoError { callback, domain, source, alias, action })
}

fn watchdog(action: &str) -> i32 {
    match action {
        "pause" => watchdog_action::PAUSE,
        "reset" => watchdog_action::RESET,
        "poweroff" => watchdog_action::POWEROFF,
        "shutdown" => watchdog_action::SHUTDOWN,
        "debug" => watchdog_action::DEBUG,
        "inject-nmi" => watchdog_action::INJECTNMI,
        _ => watchdog_action::NONE,
    }
}
