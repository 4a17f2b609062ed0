/* How many packets and bytes each pair of addresses and ports has on each interface and in each direction: a filter on
 * a packet socket that sees every packet, forwarded ones and those that are not IP included, and lets none of them
 * through to the socket. Linux 5.8. */
#include "core.h"
#include "helpers.h"

enum { IPV4 = 4, IPV6 = 6, ICMP = 1, TCP = 6, UDP = 17, DCCP = 33, ICMP6 = 58, SCTP = 132, UDP_LITE = 136 };
enum { HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT_HEADER = 44, DESTINATION = 60, MOST_EXTENSIONS = 6 };
enum { OUTGOING = 4, OFFSET_MASK = 0x1fff, FROM_NETWORK = 1, LINK_HEADER = 14, LOOPBACK = 1 };
enum { OUT = 1, FRAGMENT = 2, TAGGED = 4 };
enum { ECHO_REPLY = 0, ECHO = 8, ECHO6 = 128, ECHO_REPLY6 = 129 };

struct key {
	u8 source[16], destination[16];
	u16 source_port, destination_port; /* of ICMP echo the identifier, in both */
	u32 interface;
	u8 family, protocol, flags, zero; /* family 0: not IP */
	u16 ether_type, zeroes;           /* of what is not IP */
};
/* hostscope/platforms/linux/packet_record.py reads both: keep them alike. */
struct carried {
	u64 packets, bytes;
	u64 segments, segmented; /* the same after segmentation: a device that does it itself counts those */
	u64 cookie;              /* of the socket that sent the first packet that had one */
	u64 first, first_tick, last;
};
_Static_assert(sizeof(struct key) == 48 && sizeof(struct carried) == 64, "packet_record.py knows these layouts");

struct {
	MAP_UINT(type, MAP_HASH);
	MAP_UINT(max_entries, 131072);
	MAP_TYPE(key, struct key);
	MAP_TYPE(value, struct carried);
	MAP_UINT(map_flags, F_NO_PREALLOC);
} packets SEC(".maps");

u64 lost_sent, lost_received, lost_sends, lost_receives; /* bytes and packets of flows that found no room */

INLINE u16 swapped(u16 number) {
	return (number >> 8) | (number << 8);
}

INLINE bool load(struct __sk_buff *packet, u32 offset, void *to, u32 size) {
	return !bpf_skb_load_bytes_relative(packet, offset, to, size, FROM_NETWORK);
}

/* Ports, or the identifier of an echo; how long the header is. */
INLINE u32 read_ports(struct __sk_buff *packet, struct key *key, u32 offset) {
	struct { u16 first, second; } ports;
	u8 icmp[6], data_offset;

	if (key->flags & FRAGMENT)
		return 0;
	if (key->protocol == ICMP || key->protocol == ICMP6) {
		if (!load(packet, offset, icmp, sizeof icmp))
			return 0;
		if (key->protocol == ICMP ? icmp[0] == ECHO || icmp[0] == ECHO_REPLY :
					    icmp[0] == ECHO6 || icmp[0] == ECHO_REPLY6)
			key->source_port = key->destination_port = icmp[4] << 8 | icmp[5];
		return 8;
	}
	if (key->protocol != TCP && key->protocol != UDP && key->protocol != DCCP && key->protocol != SCTP &&
	    key->protocol != UDP_LITE)
		return 0;
	if (!load(packet, offset, &ports, sizeof ports))
		return 0;
	key->source_port = swapped(ports.first);
	key->destination_port = swapped(ports.second);
	if (key->protocol == TCP && load(packet, offset + 12, &data_offset, 1))
		return (data_offset >> 4) * 4;
	return 8;
}

INLINE u32 read_ipv4(struct __sk_buff *packet, struct key *key) {
	struct { u8 version, service; u16 length, id, offset; u8 ttl, protocol; u16 sum; u32 source, destination; } header;

	if (!load(packet, 0, &header, sizeof header) || header.version >> 4 != 4)
		return 0;
	key->family = IPV4;
	key->protocol = header.protocol;
	*(u32 *)key->source = header.source;
	*(u32 *)key->destination = header.destination;
	if (swapped(header.offset) & OFFSET_MASK)
		key->flags |= FRAGMENT;
	u32 size = (header.version & 15) * 4;
	return size + read_ports(packet, key, size);
}

INLINE u32 read_ipv6(struct __sk_buff *packet, struct key *key) {
	struct { u32 version; u16 length; u8 next, hops; u8 source[16], destination[16]; } header;
	struct { u8 next, size; u16 offset; } extension;
	u32 offset = sizeof header;

	if (!load(packet, 0, &header, sizeof header))
		return 0;
	key->family = IPV6;
	__builtin_memcpy(key->source, header.source, 16);
	__builtin_memcpy(key->destination, header.destination, 16);
	for (int i = 0; i < MOST_EXTENSIONS; i++) {
		if (header.next != HOP_BY_HOP && header.next != ROUTING && header.next != DESTINATION &&
		    header.next != FRAGMENT_HEADER)
			break;
		if (!load(packet, offset, &extension, sizeof extension))
			break;
		if (header.next == FRAGMENT_HEADER && swapped(extension.offset) >> 3)
			key->flags |= FRAGMENT;
		offset += header.next == FRAGMENT_HEADER ? 8 : (extension.size + 1) * 8;
		header.next = extension.next;
	}
	key->protocol = header.next;
	return offset + read_ports(packet, key, offset);
}

static __attribute__((noinline)) struct carried *begin(struct key *key) {
	struct carried none = {};

	none.first = bpf_ktime_get_boot_ns();
	none.first_tick = none.last = bpf_jiffies64();
	bpf_map_update_elem(&packets, key, &none, ONLY_NEW);
	return bpf_map_lookup_elem(&packets, key);
}

INLINE void lose(bool out, u32 bytes) {
	if (out) {
		ATOMIC_ADD(lost_sent, bytes);
		ATOMIC_ADD(lost_sends, 1);
	} else {
		ATOMIC_ADD(lost_received, bytes);
		ATOMIC_ADD(lost_receives, 1);
	}
}

SEC("socket") int count(struct __sk_buff *packet) {
	struct key key = { .interface = packet->ifindex };
	bool out = packet->pkt_type == OUTGOING;
	/* The loopback interface, always the first, counts what it carries without a link header. */
	u32 length = packet->len - (packet->ifindex == LOOPBACK ? LINK_HEADER : 0);
	u32 segments = packet->gso_segs, headers = 0;
	struct carried *carried;

	key.flags = (out ? OUT : 0) | (packet->vlan_present ? TAGGED : 0);
	if (packet->protocol == 0x0008)
		headers = read_ipv4(packet, &key);
	else if (packet->protocol == 0xdd86)
		headers = read_ipv6(packet, &key);
	if (!key.family)
		key.ether_type = swapped(packet->protocol);
	carried = bpf_map_lookup_elem(&packets, &key) ?: begin(&key);
	if (!carried) {
		lose(out, length);
		return 0;
	}
	ATOMIC_ADD(carried->packets, 1);
	ATOMIC_ADD(carried->bytes, length);
	ATOMIC_ADD(carried->segments, segments > 1 ? segments : 1);
	if (segments > 1)
		ATOMIC_ADD(carried->segmented, (segments - 1) * (LINK_HEADER + headers));
	if (out && !carried->cookie)
		carried->cookie = bpf_get_socket_cookie(packet);
	carried->last = bpf_jiffies64();
	return 0;
}
