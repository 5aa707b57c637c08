#include "init/set_id_filter.hpp"

#include "init/epoll.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hal::init {

namespace {

/** Newer than the headers of Debian 12; the same on all architectures. */
constexpr std::uint32_t nr_fchmodat2 = 452;
/** Marks a number of the x32 ABI, which has calls of its own. */
constexpr std::uint32_t x32_bit = 0x40000000;

enum class Rule {
  /** The mode in `argument` may have no set-user-id bit. */
  mode,
  /** Nor a set-group-id bit. */
  new_file_mode,
  /** The same, if the flags in the argument before say that a file is made. */
  open_mode,
  absent,
};

struct Call {
  std::uint32_t number;
  Rule rule;
  unsigned argument;
};

/** The machine's own calls. */
constexpr Call native_calls[] = {
#ifdef SYS_chmod
    {SYS_chmod, Rule::mode, 1},
#endif
    {SYS_fchmod, Rule::mode, 1},
    {SYS_fchmodat, Rule::mode, 2},
    {nr_fchmodat2, Rule::mode, 2},
#ifdef SYS_mknod
    {SYS_mknod, Rule::new_file_mode, 1},
#endif
    {SYS_mknodat, Rule::new_file_mode, 2},
#ifdef SYS_creat
    {SYS_creat, Rule::new_file_mode, 1},
#endif
#ifdef SYS_open
    {SYS_open, Rule::open_mode, 2},
#endif
    {SYS_openat, Rule::open_mode, 3},
    {SYS_openat2, Rule::absent, 0},
    {SYS_io_uring_setup, Rule::absent, 0},
};

#if defined(__x86_64__)
constexpr std::uint32_t native_arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t native_arch = AUDIT_ARCH_AARCH64;
#elif defined(__riscv) && __riscv_xlen == 64
constexpr std::uint32_t native_arch = AUDIT_ARCH_RISCV64;
#else
#error "add the architecture's AUDIT_ARCH_ here, and those that its processes can switch to below"
#endif

/** Those of 32-bit programs on x86-64. Other architectures' second ABIs are shut out as a whole. */
constexpr Call i386_calls[] = {
    {15, Rule::mode, 1},           {94, Rule::mode, 1},          {306, Rule::mode, 2},
    {nr_fchmodat2, Rule::mode, 2}, {14, Rule::new_file_mode, 1}, {297, Rule::new_file_mode, 2},
    {8, Rule::new_file_mode, 1},   {5, Rule::open_mode, 2},      {295, Rule::open_mode, 3},
    {437, Rule::absent, 0},        {425, Rule::absent, 0},
};

/** Where the lower half of an argument stands; modes and flags have no upper half. Little-endian machines only. */
constexpr std::uint32_t offset_of(unsigned argument) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
}

constexpr sock_filter load(std::uint32_t offset) {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, offset};
}
constexpr sock_filter jump(unsigned how, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
  return {static_cast<std::uint16_t>(BPF_JMP | how | BPF_K), static_cast<std::uint8_t>(if_true),
          static_cast<std::uint8_t>(if_false), value};
}
constexpr sock_filter answer(std::uint32_t action) {
  return {BPF_RET | BPF_K, 0, 0, action};
}
constexpr std::uint32_t error(int number) {
  return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number);
}

/** Answers for this call; reached with its number loaded, and left so for other calls. */
void append_call(std::vector<sock_filter>& program, const Call& call) {
  std::vector<sock_filter> body;
  if (call.rule == Rule::absent) {
    body = {answer(error(ENOSYS))};
  } else {
    const std::uint32_t bits = call.rule == Rule::mode ? S_ISUID : S_ISUID | S_ISGID;
    if (call.rule == Rule::open_mode) {
      body = {load(offset_of(call.argument - 1)), jump(BPF_JSET, O_CREAT | (O_TMPFILE & ~O_DIRECTORY), 1, 0),
              answer(SECCOMP_RET_ALLOW)};
    }
    for (const auto& step : {load(offset_of(call.argument)), jump(BPF_JSET, bits, 1, 0), answer(SECCOMP_RET_ALLOW),
                             answer(error(EPERM))}) {
      body.push_back(step);
    }
  }
  program.push_back(jump(BPF_JEQ, call.number, 0, body.size()));
  program.insert(program.end(), body.begin(), body.end());
}

template <std::size_t count>
std::vector<sock_filter> calls_of(const Call (&calls)[count]) {
  std::vector<sock_filter> program = {load(offsetof(seccomp_data, nr))};
  for (const auto& call : calls) {
    append_call(program, call);
  }
  program.push_back(answer(SECCOMP_RET_ALLOW));
  return program;
}

/** For processes of this architecture. `program` is entered, and left for others, with the architecture loaded. */
void append_architecture(std::vector<sock_filter>& program, std::uint32_t arch, const std::vector<sock_filter>& calls) {
  // Too far for the 8 bits of a conditional jump.
  program.push_back(jump(BPF_JEQ, arch, 1, 0));
  program.push_back({BPF_JMP | BPF_JA, 0, 0, static_cast<std::uint32_t>(calls.size())});
  program.insert(program.end(), calls.begin(), calls.end());
}

std::vector<sock_filter> make_program() {
  std::vector<sock_filter> program = {load(offsetof(seccomp_data, arch))};
  auto native = calls_of(native_calls);
#if defined(__x86_64__)
  native.insert(native.begin() + 1, {jump(BPF_JGE, x32_bit, 0, 1), answer(error(ENOSYS))});
#endif
  append_architecture(program, native_arch, native);
#if defined(__x86_64__)
  append_architecture(program, AUDIT_ARCH_I386, calls_of(i386_calls));
#endif
  program.push_back(answer(error(ENOSYS)));
  return program;
}

}  // namespace

void forbid_set_id_files() {
  auto filter = make_program();
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    throw_system_error("seccomp");
  }
}

}  // namespace hal::init
