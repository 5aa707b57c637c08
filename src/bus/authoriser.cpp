#include "bus/authoriser.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "bus/compat.hpp"
#include "bus/errors.hpp"
#include "event/sources.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hal::bus {

namespace {

constexpr auto bus_timeout = std::chrono::seconds(10);
/** For a person to find a password. */
constexpr auto polkit_timeout = std::chrono::minutes(2);
constexpr std::size_t max_pending = 4096;
/** Questions to polkit of one user, over all connections: each may wait for a person. */
constexpr std::size_t max_questions_of_user = 64;
/** Callers whose uid is remembered; one is forgotten when it leaves the bus. */
constexpr std::size_t max_known_callers = 4096;

constexpr char bus_service[] = "org.freedesktop.DBus";
constexpr char bus_path[] = "/org/freedesktop/DBus";
constexpr char polkit_service[] = "org.freedesktop.PolicyKit1";
constexpr char polkit_path[] = "/org/freedesktop/PolicyKit1/Authority";
constexpr char polkit_interface[] = "org.freedesktop.PolicyKit1.Authority";
constexpr char callers_leave[] =
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
    "member='NameOwnerChanged',arg2=''";

constexpr std::uint32_t allow_user_interaction = 1;

using Details = std::map<std::string, std::string>;
using Subject = sdbus::Struct<std::string, std::map<std::string, sdbus::Variant>>;
using PolkitResult = sdbus::Struct<bool, bool, Details>;

Verdict refused(Errc code, std::string message) {
  return {std::nullopt, dbus_error_name(code), std::move(message), false};
}

Verdict too_many() {
  return refused(Errc::limit, "too many calls wait for an authorisation");
}

bool is_absent(const std::string& error_name) {
  return error_name == "org.freedesktop.DBus.Error.ServiceUnknown" ||
         error_name == "org.freedesktop.DBus.Error.NameHasNoOwner";
}

bool is_timeout(const std::string& error_name) {
  return error_name == "org.freedesktop.DBus.Error.NoReply" || error_name == "org.freedesktop.DBus.Error.Timeout" ||
         error_name == "org.freedesktop.DBus.Error.TimedOut";
}

}  // namespace

class Authoriser::Impl {
 public:
  Impl(event::Loop& loop, sdbus::IConnection& connection)
      : loop_(loop),
        bus_(compat::make_proxy(connection, bus_service, bus_path)),
        polkit_(compat::make_proxy(connection, polkit_service, polkit_path)),
        callers_leave_(compat::add_match(connection, callers_leave,
                                         [this](const sdbus::Message& message) { on_name_lost(message); })),
        answer_later_(loop, "authoriser", [this] { answer_ready(); }) {}

  void ask(const Question& question, Answer answer);
  [[nodiscard]] std::size_t pending() const noexcept { return pending_.size() + ready_.size(); }

 private:
  using Id = std::uint64_t;

  struct Pending {
    Caller caller;
    AccessRule rule;
    std::optional<uid_t> owner;
    uid_t uid = 0;
    bool is_owner = false;
    /** Known to polkit by this; empty before it is asked. */
    std::string cancellation;
    Answer answer;
  };
  struct Ready {
    Answer answer;
    Verdict verdict;
  };

  void identify(Id id);
  void decide(Id id, uid_t uid);
  void ask_polkit(Id id, std::string_view action);
  void on_polkit_result(Id id, const PolkitResult& result);
  void on_polkit_error(Id id, const sdbus::Error& error);
  void cancel_polkit(const Pending& pending);
  void on_name_lost(const sdbus::Message& message) noexcept;
  void drop_caller(const std::string& bus_name);
  void refuse(Id id, Verdict verdict);
  void finish(Id id, Verdict verdict);
  void answer_later(Answer answer, Verdict verdict);
  void answer_ready();
  void remember(const std::string& bus_name, uid_t uid);

  /** Runs `call` so that nothing escapes into the D-Bus library. */
  template <class Call>
  void guarded(Call call) noexcept {
    try {
      call();
    } catch (const std::exception& error) {
      loop_.fail("authoriser", error.what());
    }
  }

  event::Loop& loop_;
  std::unordered_map<std::string, uid_t> known_;
  std::map<Id, Pending> pending_;
  std::vector<Ready> ready_;
  Id next_id_ = 1;
  std::string cancellation_prefix_ = text::random_hex(16);
  std::unique_ptr<sdbus::IProxy> bus_;
  std::unique_ptr<sdbus::IProxy> polkit_;
  sdbus::Slot callers_leave_;
  event::Defer answer_later_;
};

void Authoriser::Impl::ask(const Question& question, Answer answer) {
  const auto rule = access_rule(question.interface, question.member);
  if (!rule || question.caller.bus_name.empty()) {
    answer_later(std::move(answer), refused(Errc::denied, "nobody may call this"));
    return;
  }
  if (pending_.size() >= max_pending) {
    answer_later(std::move(answer), too_many());
    return;
  }
  const Id id = next_id_++;
  pending_.emplace(id, Pending{question.caller, *rule, question.owner, 0, false, {}, std::move(answer)});
  const auto known = known_.find(question.caller.bus_name);
  if (known != known_.end()) {
    decide(id, known->second);
  } else {
    identify(id);
  }
}

void Authoriser::Impl::identify(Id id) {
  bus_->callMethodAsync("GetConnectionUnixUser")
      .onInterface(bus_service)
      .withTimeout(bus_timeout)
      .withArguments(pending_.at(id).caller.bus_name)
      .uponReplyInvoke([this, id](compat::ReplyError error, std::uint32_t uid) {
        guarded([&] {
          const auto found = pending_.find(id);
          if (found == pending_.end()) {
            return;
          }
          if (error) {
            finish(id, refused(Errc::denied, "the bus does not know who calls: " + error->getMessage()));
            return;
          }
          remember(found->second.caller.bus_name, uid);
          decide(id, uid);
        });
      });
}

void Authoriser::Impl::decide(Id id, uid_t uid) {
  auto& pending = pending_.at(id);
  pending.uid = uid;
  const auto& rule = pending.rule;
  if (rule.access == Access::anyone || uid == 0 || uid == ::geteuid()) {
    finish(id, {uid, {}, {}, uid == 0 || uid == ::geteuid()});
  } else if (rule.access == Access::root) {
    finish(id, refused(Errc::denied, "only root may do this"));
  } else {
    pending.is_owner = rule.access == Access::owner_or_action && pending.owner == uid;
    ask_polkit(id, pending.is_owner ? manage_own_worker : rule.action);
  }
}

void Authoriser::Impl::ask_polkit(Id id, std::string_view action) {
  auto& pending = pending_.at(id);
  const auto asked = std::count_if(pending_.begin(), pending_.end(), [&](const auto& entry) {
    return !entry.second.cancellation.empty() && entry.second.uid == pending.uid;
  });
  if (static_cast<std::size_t>(asked) >= max_questions_of_user) {
    finish(id, too_many());
    return;
  }
  pending.cancellation = cancellation_prefix_ + "-" + std::to_string(id);
  // Who has something without a password is not bothered for more.
  const bool interactive = pending.caller.interactive && pending.rule.access != Access::own_or_all;
  // By the caller's name on the bus: a process id could be another process' by the time polkit looks.
  const Subject subject{"system-bus-name", {{"name", sdbus::Variant{pending.caller.bus_name}}}};
  polkit_->callMethodAsync("CheckAuthorization")
      .onInterface(polkit_interface)
      .withTimeout(polkit_timeout)
      .withArguments(subject, std::string(action), Details{}, interactive ? allow_user_interaction : std::uint32_t{0},
                     pending.cancellation)
      .uponReplyInvoke([this, id](compat::ReplyError error, const PolkitResult& result) {
        guarded([&] {
          if (pending_.count(id) == 0) {
            return;
          }
          if (error) {
            on_polkit_error(id, *error);
          } else {
            on_polkit_result(id, result);
          }
        });
      });
}

void Authoriser::Impl::on_polkit_result(Id id, const PolkitResult& result) {
  const auto& pending = pending_.at(id);
  const bool authorised = std::get<0>(result);
  const bool challenge = std::get<1>(result);
  if (authorised) {
    finish(id, {pending.uid, {}, {}, true});
  } else if (challenge && !pending.caller.interactive) {
    refuse(id, {std::nullopt, interactive_authorization_required, "a password is needed", false});
  } else {
    refuse(id, refused(Errc::denied, "polkit does not allow this"));
  }
}

void Authoriser::Impl::on_polkit_error(Id id, const sdbus::Error& error) {
  const auto& pending = pending_.at(id);
  if (is_absent(error.getName())) {
    refuse(id, pending.is_owner ? Verdict{pending.uid, {}, {}, false}
                                : refused(Errc::denied, "only root may do this where polkit is not installed"));
    return;
  }
  if (is_timeout(error.getName())) {
    cancel_polkit(pending);
    refuse(id, refused(Errc::timed_out, "nobody has answered the question for a password"));
    return;
  }
  log::warning({}, "polkit cannot decide on {}.{}: {}", pending.rule.interface, pending.rule.member,
               error.getMessage());
  refuse(id, refused(Errc::denied, "polkit cannot decide: " + error.getMessage()));
}

/** Polkit does not give the action. */
void Authoriser::Impl::refuse(Id id, Verdict verdict) {
  const auto& pending = pending_.at(id);
  if (pending.rule.access == Access::own_or_all) {
    verdict = {pending.uid, {}, {}, false};
  }
  finish(id, std::move(verdict));
}

void Authoriser::Impl::cancel_polkit(const Pending& pending) {
  if (pending.cancellation.empty()) {
    return;
  }
  polkit_->callMethodAsync("CancelCheckAuthorization")
      .onInterface(polkit_interface)
      .withTimeout(bus_timeout)
      .withArguments(pending.cancellation)
      .uponReplyInvoke([](compat::ReplyError) {});  // polkit may have finished meanwhile: nothing is lost
}

void Authoriser::Impl::on_name_lost(const sdbus::Message& message) noexcept {
  guarded([&] {
    const char* name = nullptr;
    if (sd_bus_message_read(compat::raw_message(message), "s", &name) > 0 && name[0] == ':') {
      drop_caller(name);
    }
  });
}

void Authoriser::Impl::drop_caller(const std::string& bus_name) {
  known_.erase(bus_name);
  std::vector<Id> dropped;
  for (const auto& [id, pending] : pending_) {
    if (pending.caller.bus_name == bus_name) {
      cancel_polkit(pending);
      dropped.push_back(id);
    }
  }
  for (const Id id : dropped) {
    finish(id, refused(Errc::cancelled, "the caller has left the bus"));
  }
}

void Authoriser::Impl::finish(Id id, Verdict verdict) {
  auto node = pending_.extract(id);
  answer_later(std::move(node.mapped().answer), std::move(verdict));
}

void Authoriser::Impl::answer_later(Answer answer, Verdict verdict) {
  ready_.push_back({std::move(answer), std::move(verdict)});
  answer_later_.schedule();
}

void Authoriser::Impl::answer_ready() {
  for (auto& ready : std::exchange(ready_, {})) {
    ready.answer(std::move(ready.verdict));
  }
}

void Authoriser::Impl::remember(const std::string& bus_name, uid_t uid) {
  if (known_.size() >= max_known_callers) {
    known_.clear();
  }
  known_.emplace(bus_name, uid);
}

Authoriser::Authoriser(event::Loop& loop, sdbus::IConnection& connection)
    : impl_(std::make_unique<Impl>(loop, connection)) {}

Authoriser::~Authoriser() = default;

void Authoriser::ask(const Question& question, Answer answer) {
  impl_->ask(question, std::move(answer));
}

std::size_t Authoriser::pending() const noexcept {
  return impl_->pending();
}

}  // namespace hal::bus
