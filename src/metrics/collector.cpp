#include "metrics/collector.hpp"

#include "base/names.hpp"
#include "claudy/client.hpp"
#include "claudy/reply.hpp"

#include <utility>

#include <nlohmann/json.hpp>

namespace hal::metrics {

namespace {

using nlohmann::json;

constexpr auto answer_deadline = std::chrono::seconds(5);
/** Units whose memory is asked for; more have no figure. */
constexpr std::size_t max_units = 512;
constexpr char properties_interface[] = "org.freedesktop.DBus.Properties";
constexpr char systemd[] = "org.freedesktop.systemd1";

/** The first value of an answer, or null. */
json first(const claudy::Reply& reply) {
  return reply.body().empty() ? json() : reply.body()[0];
}

}  // namespace

Collector::Collector(event::Loop& loop, bool user)
    : loop_(loop), user_(user), finish_(loop, "figures", [this] { finish(); }) {}

Collector::~Collector() = default;

void Collector::collect(std::function<void(const Figures&)> done) {
  done_ = std::move(done);
  figures_ = {};
  if (bus_ == nullptr) {
    auto opened = claudy::Bus::open(user_);
    if (!opened) {
      figures_.trouble = opened.error().message;
      return finish_.schedule();
    }
    bus_ = *std::move(opened);
    bus_->attach(loop_);
  }
  const auto take = [this](std::shared_ptr<const json>& place, json (*read)(const json&)) {
    return [this, &place, read](const Result<claudy::Reply>& reply) {
      if (reply) {
        place = std::make_shared<const json>(read(first(*reply)));
      } else {
        figures_.trouble = reply.error().message;
      }
    };
  };
  ask({names::root_path, properties_interface, "GetAll"}, {claudy::Value(std::string(claudy::manager_interface))},
      take(figures_.manager, claudy::printed_keys));
  ask({names::root_path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"}, {},
      take(figures_.objects, claudy::snapshot_of));
  using Words = std::vector<std::string>;
  ask({"/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "ListUnitsByPatterns", systemd},
      {claudy::Value(Words{"active"}), claudy::Value(Words{"hal9000*.service"})},
      [this](const Result<claudy::Reply>& reply) {
        if (reply) {  // else there is no systemd
          take_units(first(*reply));
        }
      });
}

void Collector::ask(claudy::Method method, const std::vector<claudy::Argument>& arguments,
                    std::function<void(const Result<claudy::Reply>&)> take) {
  method.start_service = false;
  ++pending_;
  const auto answered = [this, take = std::move(take)](Result<claudy::Reply> reply) {
    take(reply);
    if (--pending_ == 0) {
      finish_.schedule();
    }
  };
  bus_->start(method, arguments, alive_.wrap(answered), answer_deadline);
}

void Collector::take_units(const json& units) {
  constexpr std::size_t name_at = 0;
  constexpr std::size_t path_at = 6;
  for (const auto& unit : units) {
    if (figures_.unit_memory.size() >= max_units || unit.size() <= path_at || !unit[name_at].is_string() ||
        !unit[path_at].is_string()) {
      continue;
    }
    const auto place = figures_.unit_memory.size();
    figures_.unit_memory.emplace_back(unit[name_at].get<std::string>(), UINT64_MAX);
    ask({unit[path_at].get<std::string>(), properties_interface, "Get", systemd},
        {claudy::Value(std::string("org.freedesktop.systemd1.Service")), claudy::Value(std::string("MemoryCurrent"))},
        [this, place](const Result<claudy::Reply>& reply) {
          const auto bytes = reply ? first(*reply) : json();
          if (bytes.is_number_unsigned()) {
            figures_.unit_memory[place].second = bytes.get<std::uint64_t>();
          }
        });
  }
}

void Collector::finish() {
  // What nobody accounts for is told as the highest number.
  std::erase_if(figures_.unit_memory, [](const auto& unit) { return unit.second == UINT64_MAX; });
  if (!figures_.trouble.empty()) {
    bus_.reset();  // it may be the connection
  }
  std::exchange(done_, {})(figures_);
}

}  // namespace hal::metrics
