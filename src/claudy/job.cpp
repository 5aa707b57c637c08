#include "claudy/job.hpp"

#include "base/alive.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/reply.hpp"
#include "claudy/signals.hpp"
#include "event/sources.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

/** Longer than any job lets itself take. */
constexpr auto job_deadline = std::chrono::minutes(30);
constexpr std::size_t max_message_columns = 100;

class JobWait {
 public:
  JobWait(event::Loop& loop, Bus& bus)
      : loop_(loop),
        bus_(bus),
        interrupt_(loop, SIGINT, "SIGINT", [this] { cancel(); }),
        term_(loop, SIGTERM, "SIGTERM", [this] { cancel(); }),
        deadline_(loop, "job", [this] {
          end(Error{Errc::timed_out, "the job does not end"});
        }) {
    deadline_.arm(job_deadline);
  }

  Result<void> subscribe() {
    // Before the call: a job may end before its path is known.
    auto done = bus_.subscribe(
        fmt::format("type='signal',sender='{}',interface='{}',member='JobRemoved'", names::bus_name, manager_interface),
        alive_.wrap([this](const std::string&, const json& body) {
          ended_[body.at(1).get<std::string>()] = body.at(2).get<std::string>();
          look();
        }));
    if (!done) {
      return done;
    }
    return bus_.subscribe(fmt::format("type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                                      "member='NameOwnerChanged',arg0='{}'",
                                      names::bus_name),
                          alive_.wrap([this](const std::string&, const json&) {
                            end(Error{Errc::unavailable, "the daemon ended meanwhile: see `claudy daemon status`"});
                          }));
  }

  Result<void> run(const Method& method, const std::vector<Argument>& arguments) {
    bus_.attach(loop_);
    const auto on_reply = [this](const Result<Reply>& reply) {
      if (!reply) {
        end(reply.error());
        return;
      }
      path_ = reply->body().at(0).get<std::string>();
      if (cancelled_) {
        send_cancel();
      }
      if (::isatty(STDERR_FILENO) != 0) {
        show_progress();
      }
      look();
    };
    bus_.start(method, arguments, alive_.wrap(on_reply));
    (void)loop_.run();
    bus_.detach();
    if (shown_) {
      (void)std::fputs("\r\x1b[K", stderr);
    }
    return outcome();
  }

 private:
  void look() {
    if (const auto found = ended_.find(path_); found != ended_.end()) {
      end({});
    }
  }

  void end(const Result<void>& result) {
    result_ = result;
    loop_.exit(0);
  }

  /** The first interrupt cancels the job, once its path is known; the second gives up waiting. */
  void cancel() {
    if (cancelled_) {
      end(Error{Errc::cancelled, "interrupted; what has begun goes on"});
      return;
    }
    cancelled_ = true;
    if (!path_.empty()) {
      send_cancel();
    }
  }

  void send_cancel() {
    bus_.start({path_, std::string(job_interface), "Cancel"}, {}, [](const Result<Reply>&) {});
  }

  void show_progress() {
    (void)bus_.subscribe(fmt::format("type='signal',sender='{}',path='{}',interface='org.freedesktop.DBus.Properties',"
                                     "member='PropertiesChanged'",
                                     names::bus_name, path_),
                         alive_.wrap([this](const std::string&, const json& body) {
                           const auto message = text_of(body.at(1), "Message");
                           progress_ = body.at(1).value("Progress", progress_);
                           if (!message.empty() && body.at(1).value("Result", "").empty()) {
                             shown_ = true;
                             fmt::print(stderr, "\r\x1b[K{:3.0f} % {}", 100 * progress_,
                                        text::printable(message, max_message_columns));
                             (void)std::fflush(stderr);
                           }
                         }));
  }

  Result<void> outcome() {
    const auto found = ended_.find(path_);
    if (!result_ || found == ended_.end() || found->second == "done") {
      return result_;
    }
    const auto job = properties(bus_, path_, job_interface);
    const auto message = job ? text_of(*job, "message") : "the job has " + found->second;
    return Error{found->second == "cancelled"   ? Errc::cancelled
                 : found->second == "timed_out" ? Errc::timed_out
                                                : Errc::internal,
                 text::printable(message, 2000)};
  }

  event::Loop& loop_;
  Bus& bus_;
  std::string path_;
  /** Results of jobs by their path. */
  std::map<std::string, std::string> ended_;
  Result<void> result_;
  bool cancelled_ = false;
  bool shown_ = false;
  double progress_ = 0;
  event::Signal interrupt_;
  event::Signal term_;
  event::Timer deadline_;
  /** Subscriptions last as long as the connection. */
  Alive alive_;
};

}  // namespace

Result<void> run_job(Bus& bus, const Method& method, const std::vector<Argument>& arguments) {
  const BlockedSignals blocked({SIGINT, SIGTERM});
  event::Loop loop;
  JobWait wait(loop, bus);
  if (auto done = wait.subscribe(); !done) {
    return done;
  }
  return wait.run(method, arguments);
}

}  // namespace hal::claudy
