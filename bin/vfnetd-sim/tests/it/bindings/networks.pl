# A guest, networks, ports, node devices and their events through libvirt's Perl binding.

use strict;
use warnings;
use Sys::Virt;
use Sys::Virt::Event;

my ($uri, $hw, $port_xml, $web1) = @ARGV;
my $PORT = '22222222-2222-4222-8222-222222222201';

Sys::Virt::Event::register_default();
# Brings the loop back now and then.
Sys::Virt::Event::add_timeout(20, sub { });
my $conn = Sys::Virt->new(uri => $uri);

sub is {
    my ($what, $found, $wanted) = @_;
    $found eq $wanted or die "$what is $found, not $wanted\n";
}

sub refused {
    my ($code, $call) = @_;
    eval { $call->(); 1 } and die "granted, where $code was expected\n";
    ref $@ or die $@;
    $@->code == $code or die $@->code . " instead of $code: " . $@->message . "\n";
}

sub until_seen {
    my ($seen, $wanted, $again) = @_;
    until (grep { $_ eq $wanted } @$seen) {
        $again->() if $again;
        Sys::Virt::Event::run_default();
    }
}

my (@networks, @devices, @updated, @guests);
$conn->network_event_register_any(undef, Sys::Virt::Network::EVENT_ID_LIFECYCLE,
    sub { my ($c, $net, $event) = @_; push @networks, $net->get_name . " $event" });
$conn->node_device_event_register_any(undef, Sys::Virt::NodeDevice::EVENT_ID_LIFECYCLE,
    sub { my ($c, $device, $event) = @_; push @devices, $device->get_name . " $event" });
$conn->node_device_event_register_any(undef, Sys::Virt::NodeDevice::EVENT_ID_UPDATE,
    sub { my ($c, $device) = @_; push @updated, $device->get_name });
$conn->domain_event_register_any(undef, Sys::Virt::Domain::EVENT_ID_LIFECYCLE,
    sub { my ($c, $guest, $event) = @_; push @guests, $guest->get_name . " $event" });

# A network's life. An event right behind the answer to the registration may be lost.
refused(Sys::Virt::Error::ERR_NO_NETWORK, sub { $conn->get_network_by_name('hw') });
refused(Sys::Virt::Error::ERR_XML_ERROR, sub { $conn->define_network('<network>') });
my $net = $conn->define_network($hw);
until_seen(\@networks, 'hw ' . Sys::Virt::Network::EVENT_DEFINED,
    sub { $conn->define_network($hw) });
refused(Sys::Virt::Error::ERR_OPERATION_INVALID, sub { $net->destroy });
$net->create;
until_seen(\@networks, 'hw ' . Sys::Virt::Network::EVENT_STARTED);
until_seen(\@devices, 'pci_0000_01_10_0 ' . Sys::Virt::NodeDevice::EVENT_CREATED);
$net->set_autostart(1);
is('autostart', $net->get_autostart, 1);
is('by UUID', $conn->get_network_by_uuid($net->get_uuid)->get_name, 'hw');
is('all', join(' ', map { $_->get_name } $conn->list_all_networks), 'hw');
is('active', join(' ', map { $_->get_name } $conn->list_networks), 'hw');
is('inactive', scalar(my @defined = $conn->list_defined_networks), 0);
is('leases', scalar(my @leases = $net->get_dhcp_leases), 0);
$net->update(Sys::Virt::Network::UPDATE_COMMAND_ADD_LAST, Sys::Virt::Network::SECTION_PORTGROUP,
    -1, "<portgroup name='gold'/>", Sys::Virt::Network::UPDATE_AFFECT_LIVE);
$net->get_xml_description =~ /<portgroup name='gold'>/ or die "no portgroup\n";

# A port.
my $port = $net->create_port($port_xml);
is('port', $port->get_uuid_string, $PORT);
is('ports', join(' ', map { $_->get_uuid_string } $net->list_all_ports), $PORT);
refused(Sys::Virt::Error::ERR_NETWORK_PORT_EXIST, sub { $net->create_port($port_xml) });
is('document', $net->get_port_by_uuid($PORT)->get_xml_description, $port->get_xml_description);
$port->get_xml_description =~ /bus='0x01' slot='0x10' function='0x0'/ or die "another VF\n";
my %parameters = %{ $port->get_parameters };
is('parameters', join(' ', keys %parameters), '');

# Node devices: held by the port, and free.
my @cards = map { $_->get_name } $conn->list_node_devices('net');
@cards >= 1 and !grep { !/^net_/ } @cards or die "@cards\n";
grep { $_->get_name eq 'computer' } $conn->list_all_node_devices or die "no computer\n";
refused(Sys::Virt::Error::ERR_NO_NODE_DEVICE,
    sub { $conn->get_node_device_by_name('pci_0000_99_00_0') });
my $held = $conn->get_node_device_by_name('pci_0000_01_10_0');
refused(Sys::Virt::Error::ERR_OPERATION_INVALID, sub { $held->dettach(undef) });
refused(Sys::Virt::Error::ERR_OPERATION_INVALID, sub { $held->reattach });
refused(Sys::Virt::Error::ERR_OPERATION_INVALID, sub { $held->reset });
my $free = $conn->get_node_device_by_name('pci_0000_01_10_2');
grep { $_ eq 'pci' } $free->list_capabilities or die "no PCI device\n";
$free->get_parent =~ /^pci_/ or die "no PCI parent\n";
$free->dettach('vfio');
$free->get_xml_description =~ /<name>vfio-pci</ or die "not detached\n";
until_seen(\@updated, 'pci_0000_01_10_2');
$free->reset;
$free->reattach;
$free->get_xml_description =~ /<name>igbvf</ or die "not attached again\n";

# A guest takes the next VF.
my $guest = $conn->define_domain($web1);
$guest->create;
is('state', $guest->get_info->{state}, Sys::Virt::Domain::STATE_RUNNING);
is('ports', scalar(my @both = $net->list_all_ports), 2);
until_seen(\@guests, 'web1 ' . Sys::Virt::Domain::EVENT_STARTED);
$guest->destroy;
until_seen(\@guests, 'web1 ' . Sys::Virt::Domain::EVENT_STOPPED);
$guest->undefine;

# The port is given back, and the network removed.
refused(Sys::Virt::Error::ERR_OPERATION_INVALID, sub { $net->destroy });
$port->delete;
refused(Sys::Virt::Error::ERR_NO_NETWORK_PORT, sub { $net->get_port_by_uuid($PORT) });
$net->destroy;
until_seen(\@networks, 'hw ' . Sys::Virt::Network::EVENT_STOPPED);
$net->undefine;
until_seen(\@networks, 'hw ' . Sys::Virt::Network::EVENT_UNDEFINED);
refused(Sys::Virt::Error::ERR_NO_NETWORK, sub { $net->create });
print "done\n";
