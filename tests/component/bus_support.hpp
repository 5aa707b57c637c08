#pragma once

#include "bus/connection.hpp"
#include "bus/service.hpp"
#include "fakes/bus_fakes.hpp"
#include "support/component.hpp"

#include <systemd/sd-bus.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hal::test {

/** A dbus-daemon of the test's own with the policy of a system bus, and ours as installed. */
class TestBus {
 public:
  TestBus();
  ~TestBus();
  TestBus(const TestBus&) = delete;
  TestBus& operator=(const TestBus&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /** Kills the daemon. */
  void stop();

 private:
  TempDir folder_;
  pid_t pid_ = 0;
  std::string address_;
};

/** The answer to a call. */
class Answer {
 public:
  Answer() = default;
  explicit Answer(sd_bus_message* message) : message_(sd_bus_message_ref(message), sd_bus_message_unref) {}

  [[nodiscard]] bool ok() const { return message_ != nullptr && !sd_bus_message_is_method_error(get(), nullptr); }
  /** Empty for a success. */
  [[nodiscard]] std::string error() const;
  [[nodiscard]] std::string error_message() const;
  [[nodiscard]] sd_bus_message* get() const { return message_.get(); }
  /** A single string or object path. */
  [[nodiscard]] std::string text() const;
  /** The first value, a descriptor, as our own. */
  [[nodiscard]] UniqueFd fd() const;

 private:
  std::shared_ptr<sd_bus_message> message_;
};

/** A signal as a client sees it. */
struct Signal {
  std::string path;
  std::string interface;
  std::string member;
  /** PropertiesChanged: the names of the properties. Interfaces…: those of ours. Others: the strings of the body. */
  std::set<std::string> words;
};

/** A client with a connection of its own, on the test's loop. */
class Client {
 public:
  /** `uid`: as this user; needs root for another one than ourselves. */
  Client(event::Loop& loop, const std::string& address, uid_t uid = ::geteuid());
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] sd_bus* bus() const noexcept { return bus_; }
  [[nodiscard]] std::string unique_name() const;

  /** Calls a method of org.hal9000 and turns the loop until the answer is there. */
  template <class... Args>
  Answer call(const std::string& path, const char* interface, const char* member, const char* types, Args... args) {
    auto pending = start(path, interface, member, types, args...);
    return wait(pending);
  }
  Answer call(const std::string& path, const char* interface, const char* member) {
    return call(path, interface, member, "");
  }

  /** The answer is filled in when it comes. */
  using Pending = std::shared_ptr<Answer>;
  template <class... Args>
  Pending start(const std::string& path, const char* interface, const char* member, const char* types, Args... args) {
    auto* message = make_call(path, interface, member);
    if (sd_bus_message_append(message, types, args...) < 0) {
      throw std::runtime_error("cannot append");
    }
    return send(message);
  }
  Answer wait(const Pending& pending);

  [[nodiscard]] sd_bus_message* make_call(const std::string& path, const char* interface, const char* member);
  /** Takes the message over. */
  Pending send(sd_bus_message* message);

  /** A property as text. */
  std::string property(const std::string& path, const char* interface, const char* name);

  /** Begins to record the signals of org.hal9000. */
  void record();
  std::vector<Signal> signals;
  /** Those of this path (and member, unless empty) so far. */
  [[nodiscard]] std::vector<Signal> signals_of(const std::string& path, const std::string& member) const;
  bool wait_signal(const std::string& path, const std::string& member, std::size_t count = 1);

 private:
  event::Loop& loop_;
  sd_bus* bus_ = nullptr;
};

/** A polkit that says what it is told to. */
class FakePolkit {
 public:
  FakePolkit(event::Loop& loop, const std::string& address);

  enum class Says { yes, no, ask, nothing, broken };
  Says says = Says::no;
  struct Question {
    std::string subject;
    std::string action;
    std::uint32_t flags;
    std::string cancellation;
  };
  std::vector<Question> questions;
  std::vector<std::string> cancelled;

  int check(sd_bus_message* message);
  int cancel(sd_bus_message* message);

 private:
  Client client_;
};

/** The whole service on fakes. */
class BusTest {
 public:
  BusTest();
  ~BusTest();

  static constexpr const char* manager = "org.hal9000.Manager1";
  static constexpr const char* worker1 = "org.hal9000.Worker1";
  static constexpr const char* server1 = "org.hal9000.Server1";
  static constexpr const char* parent1 = "org.hal9000.Parent1";
  static constexpr const char* pool1 = "org.hal9000.Pool1";
  static constexpr const char* job1 = "org.hal9000.Job1";
  static constexpr const char* properties = "org.freedesktop.DBus.Properties";
  /** Users every machine has: the bus lets nobody in it does not know. */
  static constexpr uid_t alice = 1;
  static constexpr uid_t bob = 2;

  /** A running worker of this owner. */
  worker::Worker& add_worker(const std::string& id, uid_t owner);
  static std::string path_of(const std::string& id) { return "/org/hal9000/worker/" + id; }

  TestBus daemon;
  event::Loop loop;
  FakeRegistry registry{loop};
  FakeParent parent{loop};
  FakePool pool{loop};
  FakeServers servers{loop};
  FakeDaemon control{loop};
  FakeEditor editor{loop};
  FakeImages images{loop};
  std::string lost;
  std::unique_ptr<bus::Connection> connection;
  std::unique_ptr<bus::Service> service;

 private:
  class Wiring;
  std::unique_ptr<Wiring> wiring_;
};

}  // namespace hal::test
