#include "component/engine_fake.hpp"

namespace hal::engine {
namespace {

using namespace std::chrono_literals;
using test::http;

using EngineConnection = FakeEngine;
using Clock = std::chrono::steady_clock;

TEST_F(EngineConnection, is_up_only_when_events_flow) {
  Connection stream;
  on("GET /events", [&stream](const auto&, const auto& connection) { stream = connection; });
  start(false);
  ASSERT_TRUE(wait([&] { return stream != nullptr; }));
  test::run_ready(loop_);
  EXPECT_EQ(ups_, 0);
  EXPECT_FALSE(client_->up());
  stream->send(test::http_chunked());
  ASSERT_TRUE(wait_up());
  EXPECT_TRUE(client_->up());
  EXPECT_EQ(client_->info().version, "20.10");
  EXPECT_EQ(client_->info().api_version, "1.41");
  EXPECT_EQ(client_->info().cgroup_version, 2);
  EXPECT_EQ(downs_, 0);
}

TEST_F(EngineConnection, asks_for_events_of_its_instance_only) {
  start();
  EXPECT_EQ(server_.seen().at(0), "GET /_ping");
  EXPECT_EQ(server_.seen().at(1), "GET /version");
  EXPECT_EQ(server_.seen().at(2), "GET /v1.41/info");
  EXPECT_EQ(server_.seen().at(3),
            "GET /v1.41/events?filters=" + curl::escape(R"({"label":["org.hal9000.instance=me"]})"));
}

TEST_F(EngineConnection, speaks_its_own_newest_version_with_a_newer_engine) {
  api_version_ = "1.99";
  start();
  EXPECT_EQ(client_->info().api_version, newest_api.text());
  EXPECT_EQ(server_.seen().at(2), "GET /v" + newest_api.text() + "/info");
}

TEST_F(EngineConnection, an_engine_that_is_too_old_is_named_and_asked_again) {
  api_version_ = "1.40";
  start(false);
  ASSERT_TRUE(wait_down());
  EXPECT_EQ(reason_.code, Errc::unavailable);
  EXPECT_NE(reason_.message.find("1.40"), std::string::npos) << reason_.message;
  api_version_ = "1.43";
  ASSERT_TRUE(wait_up());
  EXPECT_EQ(client_->info().api_version, "1.43");
  EXPECT_EQ(downs_, 1);
}

TEST_F(EngineConnection, a_version_that_is_refused_after_all_is_a_reason_not_a_crash) {
  on("GET /info", http(400, R"({"message":"client version 1.41 is too new. Maximum supported API version is 1.40"})"));
  start(false);
  ASSERT_TRUE(wait_down());
  EXPECT_EQ(reason_.code, Errc::unavailable);
  EXPECT_NE(reason_.message.find("too new"), std::string::npos) << reason_.message;
}

TEST_F(EngineConnection, an_absent_socket_is_told_once_with_path_and_advice) {
  server_.vanish();
  start(false);
  ASSERT_TRUE(wait_down());
  EXPECT_EQ(reason_.code, Errc::unavailable);
  EXPECT_NE(reason_.message.find(options_.socket), std::string::npos) << reason_.message;
  EXPECT_NE(reason_.message.find("start the container engine"), std::string::npos) << reason_.message;
  server_.listen();
  ASSERT_TRUE(wait_up()) << reason_.message;
  EXPECT_EQ(downs_, 1);
}

TEST_F(EngineConnection, any_fault_while_connecting_is_survived) {
  const std::string whole = http(200, "OK");
  for (const std::string step : {"GET /_ping", "GET /version", "GET /info", "GET /events"}) {
    const auto healthy = answers_.at(step);
    const std::pair<const char*, Answer> faults[] = {
        {"closes", [](const auto&, const auto& c) { c->cut(); }},
        {"garbage", [](const auto&, const auto& c) { c->send("garbage\n\n"), c->finish(); }},
        {"cut header", [&](const auto&, const auto& c) { c->send("HTTP/1.1 200 OK\r\nConte"), c->finish(); }},
        {"500", [](const auto&, const auto& c) { c->send(http(500, R"({"message":"oh no"})")); }},
        {"503", [](const auto&, const auto& c) { c->send(http(503, "")); }},
        {"redirect", [](const auto&, const auto& c) { c->send(http(301, "", "Location: http://elsewhere/\r\n")); }},
        {"too large",
         [](const auto&, const auto& c) {
           c->send("HTTP/1.1 500 x\r\nContent-Length: 99999999\r\n\r\n" + std::string(17 << 20, 'x'));
         }},
    };
    for (const auto& [name, fault] : faults) {
      ups_ = downs_ = 0;
      on(step, fault);
      start(false);
      ASSERT_TRUE(wait_down()) << step << ": " << name;
      EXPECT_FALSE(reason_.message.empty());
      EXPECT_EQ(ups_, 0) << step << ": " << name;
      on(step, healthy);
      ASSERT_TRUE(wait_up()) << step << ": " << name << ": " << reason_.message;
      EXPECT_EQ(downs_, 1) << step << ": " << name;
    }
  }
}

TEST_F(EngineConnection, silence_while_connecting_has_a_deadline) {
  options_.ping_deadline = 50ms;
  for (const std::string step : {"GET /_ping", "GET /version", "GET /info", "GET /events"}) {
    ups_ = downs_ = 0;
    const auto healthy = answers_.at(step);
    on(step, [](const auto&, const auto&) {});
    start(false);
    ASSERT_TRUE(wait_down()) << step;
    EXPECT_EQ(reason_.code, Errc::timed_out) << step << ": " << reason_.message;
    on(step, healthy);
    ASSERT_TRUE(wait_up()) << step;
  }
}

TEST_F(EngineConnection, events_arrive_whole_from_pieces_of_one_byte) {
  start();
  event_stream_->slowly();
  emit(event("start", "a") + event("die", "a").substr(0, 20));
  emit(event("die", "a").substr(20));
  ASSERT_TRUE(wait([&] { return events_.size() == 2; }));
  EXPECT_EQ(events_, (std::vector<std::pair<Kind, std::string>>{{Kind::started, "a"}, {Kind::died, "a"}}));
}

TEST_F(EngineConnection, tells_of_images_whatever_is_said_of_them) {
  start();
  ASSERT_TRUE(wait([&] { return image_stream_ != nullptr; }));
  image_stream_->send(test::chunk("no JSON at all\n"));
  ASSERT_TRUE(wait([&] { return image_events_ > 0; }));
  image_stream_->send(test::last_chunk);
  emit(event("start", "a"));
  ASSERT_TRUE(wait([&] { return !events_.empty(); }));
  EXPECT_EQ(downs_, 0) << "the end of this stream is no loss";
}

TEST_F(EngineConnection, a_garbage_line_makes_it_connect_anew) {
  start();
  emit(event("start", "a") + "garbage\n" + event("die", "a"));
  ASSERT_TRUE(wait_up(2));
  EXPECT_EQ(downs_, 1);
  EXPECT_EQ(events_, (std::vector<std::pair<Kind, std::string>>{{Kind::started, "a"}}));
}

TEST_F(EngineConnection, a_line_without_end_makes_it_connect_anew) {
  start();
  emit(std::string(EventReader::max_line_bytes + 100'000, 'x'));
  ASSERT_TRUE(wait_up(2));
  EXPECT_EQ(downs_, 1);
}

TEST_F(EngineConnection, an_engine_that_restarts_is_negotiated_with_anew) {
  start();
  server_.vanish();
  ASSERT_TRUE(wait_down());
  EXPECT_FALSE(client_->up());
  api_version_ = "1.44";
  server_.listen();
  ASSERT_TRUE(wait_up(2));
  EXPECT_EQ(client_->info().api_version, "1.44");
  emit(event("start", "b"));
  EXPECT_TRUE(wait([&] { return events_.size() == 1; }));
}

TEST_F(EngineConnection, an_event_stream_that_ends_in_order_counts_as_down) {
  start();
  event_stream_->send(test::last_chunk);
  ASSERT_TRUE(wait_down());
  EXPECT_EQ(reason_.code, Errc::unavailable);
  ASSERT_TRUE(wait_up(2));
}

TEST_F(EngineConnection, attempts_grow_apart_while_the_engine_keeps_failing) {
  options_.backoff_min = 20ms;
  options_.backoff_max = 10s;
  on("GET /_ping", [](const auto&, const auto& c) { c->cut(); });
  const auto begin = Clock::now();
  start(false);
  ASSERT_TRUE(wait([&] { return count("GET /_ping") >= 5; }));
  EXPECT_GE(Clock::now() - begin, 20ms + 40ms + 80ms + 160ms);
}

TEST_F(EngineConnection, is_probed_while_a_call_waits_and_found_dead_behind_a_silent_stream) {
  options_.heartbeat = 20ms;
  Connection waiting;
  on("GET /containers/c1/json", [&waiting](const auto&, const auto& connection) { waiting = connection; });
  start();
  const auto ask = [this] { client_->inspect(ContainerId{"c1"}, [](const auto&) {}); };
  ask();
  ASSERT_TRUE(wait([&] { return count("GET /_ping") >= 4; })) << "no heartbeat";
  EXPECT_EQ(downs_, 0);
  options_.ping_deadline = 200ms;
  ups_ = 0;
  start();
  on("GET /_ping", [](const auto&, const auto&) {});
  ask();
  ASSERT_TRUE(wait_down());
  EXPECT_EQ(reason_.code, Errc::timed_out) << reason_.message;
  on("GET /_ping", http(200, "OK"));
  ASSERT_TRUE(wait_up(2));
}

TEST_F(EngineConnection, is_left_alone_when_nobody_waits) {
  options_.heartbeat = 20ms;
  start();
  ASSERT_TRUE(inspect());
  ASSERT_TRUE(inspect());
  bool later = false;
  event::Timer timer(loop_, "test", [&later] { later = true; });
  timer.arm(200ms);
  ASSERT_TRUE(wait([&] { return later; }));
  EXPECT_EQ(count("GET /_ping"), 1);
}

TEST_F(EngineConnection, an_event_puts_the_next_probe_off) {
  options_.heartbeat = 300ms;
  Connection waiting;
  on("GET /containers/c1/json", [&waiting](const auto&, const auto& connection) { waiting = connection; });
  start();
  client_->inspect(ContainerId{"c1"}, [](const auto&) {});
  // On a machine that is too slow, a probe comes before the event; then it is tried again.
  for (bool judged = false; !judged;) {
    const int before = count("GET /_ping");
    events_.clear();
    event::Timer timer(loop_, "test", [this] { emit(event("start", "a")); });
    timer.arm(200ms);
    ASSERT_TRUE(wait([&] { return !events_.empty(); }));
    const auto heard = Clock::now();
    judged = count("GET /_ping") == before;
    ASSERT_TRUE(wait([&] { return count("GET /_ping") > before; }));
    EXPECT_TRUE(!judged || Clock::now() - heard > 250ms);
  }
}

TEST_F(EngineConnection, the_client_may_be_destroyed_in_each_of_its_listeners_methods) {
  const auto destroy = [this] { client_.reset(); };
  inside_up_ = destroy;
  start(false);
  ASSERT_TRUE(wait_up());
  test::run_ready(loop_);

  inside_up_ = nullptr;
  inside_event_ = destroy;
  ups_ = 0;
  start();
  emit(event("start", "a") + event("die", "a"));
  ASSERT_TRUE(wait([&] { return !events_.empty(); }));
  test::run_ready(loop_);
  EXPECT_EQ(events_.size(), 1U) << "told after destruction";

  inside_event_ = nullptr;
  inside_down_ = destroy;
  ups_ = 0;
  start();
  server_.vanish();
  ASSERT_TRUE(wait_down());
  test::run_ready(loop_);
  EXPECT_EQ(client_, nullptr);
}

}  // namespace
}  // namespace hal::engine
