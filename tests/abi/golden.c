/* Bytes as Apple's own headers lay them out, by names of fields; tests/abi/test_golden.py decodes them with our classes. */
#include <libproc.h>
#include <mach/mach.h>
#include <net/bpf.h>
#include <net/if.h>
#include <net/if_mib.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/sysctl.h>

const struct proc_taskallinfo golden_taskall = {
  .pbsd = {.pbi_pid = 4242, .pbi_ppid = 1, .pbi_uid = 501, .pbi_svgid = 20, .pbi_comm = "Safari",
    .pbi_name = "Safari Web Content", .pbi_nice = -5, .pbi_start_tvsec = 1700000000, .pbi_start_tvusec = 42,
    .e_tdev = 0x10000003},
  .ptinfo = {.pti_resident_size = 0x200000001ull, .pti_threadnum = 7, .pti_total_user = 123456789, .pti_priority = 46}};
const struct kinfo_proc golden_kinfo = {
  .kp_proc = {.p_un.__p_starttime = {1700000000, 42}, .p_pid = 77, .p_comm = "kp", .p_stat = SZOMB, .p_nice = -7,
    .p_flag = P_TRANSLATED},
  .kp_eproc = {.e_ppid = 3, .e_pgid = 70, .e_tdev = -1, .e_ucred = {.cr_uid = 502, .cr_ngroups = 2, .cr_groups = {20, 12}},
    .e_pcred = {.p_ruid = 503, .p_svgid = 21}, .e_login = "ann"}};
const struct rusage_info_v6 golden_usage = {
  .ri_phys_footprint = 11, .ri_diskio_bytesread = 21, .ri_diskio_byteswritten = 22, .ri_billed_energy = 33,
  .ri_energy_nj = 55, .ri_child_user_time = 66};
const struct proc_regionwithpathinfo golden_region = {
  .prp_prinfo = {.pri_protection = 5, .pri_share_mode = SM_SHARED, .pri_address = 0x100000000ull, .pri_size = 0x4000,
    .pri_offset = 0x8000},
  .prp_vip = {.vip_path = "/bin/ls", .vip_vi.vi_stat = {.vst_dev = 0x1000004, .vst_ino = 4711}}};
const struct socket_fdinfo golden_socket = {
  .psi = {.soi_family = AF_INET6, .soi_kind = SOCKINFO_TCP, .soi_protocol = 6,
    .soi_proto.pri_tcp = {.tcpsi_state = TSI_S_ESTABLISHED,
      .tcpsi_ini = {.insi_lport = 0x5000, .insi_fport = 0xbb01, .insi_vflag = INI_IPV6}}}};
const struct if_msghdr2 golden_interface = {
  .ifm_type = RTM_IFINFO2, .ifm_index = 4,
  .ifm_data = {.ifi_ibytes = 5000000000ull, .ifi_obytes = 6, .ifi_baudrate = 10000000000ull}};
const struct bpf_hdr golden_packet = {.bh_tstamp = {10, 20}, .bh_caplen = 60, .bh_datalen = 1500, .bh_hdrlen = 18};
const struct vm_region_submap_info_64 golden_submap = {
  .protection = 5, .offset = 0x123456789abull, .user_tag = 9, .share_mode = SM_COW, .object_id_full = 0xabcdef0123ull};
const struct ifmibdata golden_totals = {
  .ifmd_name = "en0", .ifmd_data = {.ifi_ibytes = 30277303935ull, .ifi_obytes = 5000000000ull}};
#define ADDRESS(number) {.sin_len = 16, .sin_family = AF_INET, .sin_addr = {number}}
const struct { struct rt_msghdr2 head; struct sockaddr_in destination, gateway, mask; } golden_route = {
  {.rtm_msglen = sizeof golden_route, .rtm_type = RTM_GET2, .rtm_index = 4, .rtm_flags = RTF_UP | RTF_GATEWAY | RTF_STATIC,
    .rtm_addrs = RTA_DST | RTA_GATEWAY | RTA_NETMASK},
  ADDRESS(0x0000080a), ADDRESS(0x0101a8c0), ADDRESS(0x0000ffff)};
