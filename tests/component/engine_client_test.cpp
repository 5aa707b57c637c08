#include "component/engine_fake.hpp"
#include "json/json.hpp"

#include <nlohmann/json.hpp>

namespace hal::engine {
namespace {

using namespace std::chrono_literals;
using test::http;
using worker::ContainerInfo;

class EngineClient : public FakeEngine {
 protected:
  Result<ContainerId> create() {
    worker::ContainerSpec spec;
    spec.name = "box";
    spec.image = "img:1";
    spec.labels = {{"org.hal9000.id", "w1"}};
    return await<ContainerId>([&](auto done) { client_->create(spec, done); });
  }
  Result<void> remove(bool force) {
    return await<void>([&](auto done) { client_->remove(ContainerId{"c1"}, force, done); });
  }
  /** What inspecting the container of the name says. */
  void there_is(const std::string& labels) {
    on("GET /containers/box/json", http(200, R"({"Id":"c7","Config":{"Labels":)" + labels + "}}"));
  }
};

TEST_F(EngineClient, answers_unavailable_while_there_is_no_engine) {
  server_.vanish();
  start(false);
  const auto early = inspect();
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, Errc::unavailable);
  ASSERT_TRUE(wait_down());
  const auto result = inspect();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::unavailable);
  EXPECT_NE(result.error().message.find(options_.socket), std::string::npos) << result.error().message;
}

TEST_F(EngineClient, a_call_on_its_way_when_the_engine_vanishes_is_answered_and_the_next_works) {
  on("GET /containers/c1/json", [this](const auto&, const auto&) { server_.vanish(); });
  start();
  const auto lost = inspect();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::unavailable) << lost.error().message;
  on("GET /containers/c1/json", http(200, R"({"Id":"c1"})"));
  server_.listen();
  ASSERT_TRUE(wait_up(2));
  EXPECT_TRUE(inspect());
}

TEST_F(EngineClient, an_answer_cut_anywhere_is_an_error_and_never_half_an_answer) {
  start();
  const auto whole = http(200, R"({"Id":"c1","State":{"Status":"running"}})");
  for (std::size_t length = 0; length < whole.size(); length += 3) {
    on("GET /containers/c1/json", [&](const auto&, const auto& connection) {
      connection->send(whole.substr(0, length));
      connection->finish();
    });
    const auto result = inspect();
    ASSERT_FALSE(result) << length;
    EXPECT_TRUE(result.error().code == Errc::unavailable || result.error().code == Errc::protocol)
        << length << ": " << result.error().message;
  }
}

TEST_F(EngineClient, an_answer_in_pieces_of_one_byte_is_the_same_answer) {
  on("GET /containers/c1/json", [](const auto&, const auto& connection) {
    connection->slowly();
    connection->send(test::http_chunked() + test::chunk(R"({"Id":)") + test::chunk(R"("c1"})") +
                     std::string(test::last_chunk));
  });
  start();
  const auto result = inspect();
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->id.value, "c1");
}

TEST_F(EngineClient, an_engine_that_stalls_times_out_in_any_part_of_its_answer) {
  options_.call_deadline = 50ms;
  start();
  const auto whole = http(200, R"({"Id":"c1"})");
  for (const std::size_t length : {std::size_t{0}, std::size_t{10}, whole.size() - 1}) {
    on("GET /containers/c1/json", whole.substr(0, length));
    const auto result = inspect();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Errc::timed_out) << result.error().message;
  }
}

TEST_F(EngineClient, answers_that_are_no_answers_are_errors) {
  start();
  on("GET /containers/c1/json", http(200, "{\"Id\":"));
  EXPECT_EQ(inspect().error().code, Errc::protocol);
  on("GET /containers/c1/json", http(200, "[]"));
  EXPECT_EQ(inspect().error().code, Errc::protocol);
  on("GET /containers/c1/json", http(200, std::string((16 << 20) + 1, ' ')));
  EXPECT_EQ(inspect().error().code, Errc::limit);
  on("GET /containers/c1/json", http(200, std::string(10'000, '[')));
  EXPECT_EQ(inspect().error().code, Errc::limit);
  EXPECT_TRUE(client_->up()) << "one bad answer is no reason to leave";
}

TEST_F(EngineClient, errors_carry_what_was_tried_and_what_the_engine_said) {
  start();
  on("POST /containers/c1/start", http(500, R"({"message":"no space left"})"));
  const auto result = await<void>([&](auto done) { client_->start(ContainerId{"c1"}, done); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::internal);
  EXPECT_EQ(result.error().message, "start container c1: no space left");
}

TEST_F(EngineClient, states_that_are_so_already_are_successes) {
  start();
  on("POST /containers/c1/start", "HTTP/1.1 304 x\r\n\r\n");
  on("POST /containers/c1/stop", "HTTP/1.1 304 x\r\n\r\n");
  EXPECT_TRUE(await<void>([&](auto done) { client_->start(ContainerId{"c1"}, done); }));
  EXPECT_TRUE(await<void>([&](auto done) { client_->stop(ContainerId{"c1"}, 1s, done); }));
}

TEST_F(EngineClient, create_marks_what_is_ours) {
  nlohmann::json body;
  on("POST /containers/create", [&](const auto& request, const auto& connection) {
    body = json::parse(request.body).value_or({});
    connection->send(http(201, R"({"Id":"c7","Warnings":[]})"));
  });
  start();
  const auto id = create();
  ASSERT_TRUE(id) << id.error().message;
  EXPECT_EQ(id->value, "c7");
  EXPECT_EQ(body["Labels"], nlohmann::json({{"org.hal9000.id", "w1"}, {"org.hal9000.instance", "me"}}));
  EXPECT_TRUE(server_.seen().back().ends_with("create?name=box"));
}

TEST_F(EngineClient, create_adopts_only_what_was_made_from_the_same) {
  start();
  for (const int status : {409, 500}) {  // the latter is Podman's
    on("POST /containers/create", http(status, R"({"message":"the name is in use"})"));
    there_is(R"({"org.hal9000.id":"w1","org.hal9000.instance":"me","more":"x"})");
    const auto ours = create();
    ASSERT_TRUE(ours) << ours.error().message;
    EXPECT_EQ(ours->value, "c7");
    for (const auto* labels : {R"({"org.hal9000.id":"w1","org.hal9000.instance":"other"})",
                               R"({"org.hal9000.id":"w2","org.hal9000.instance":"me"})", "{}", "null"}) {
      there_is(labels);
      const auto foreign = create();
      ASSERT_FALSE(foreign) << labels;
      EXPECT_EQ(foreign.error().code, Errc::already_exists) << foreign.error().message;
    }
    on("GET /containers/box/json", http(404, R"({"message":"no such container"})"));
    const auto gone = create();
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code, status == 409 ? Errc::already_exists : Errc::internal);
  }
}

TEST_F(EngineClient, create_tells_a_missing_image_from_anything_else_that_is_missing) {
  start();
  on("POST /containers/create", http(404, R"({"message":"No such thing"})"));
  on("GET /images/img%3A1/json", http(404, R"({"message":"No such image"})"));
  const auto image = create();
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, Errc::not_found);
  EXPECT_NE(image.error().message.find("image img:1"), std::string::npos) << image.error().message;
  on("GET /images/img%3A1/json", http(200, R"({"Id":"sha256:1"})"));
  const auto other = create();
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::not_found);
  EXPECT_NE(other.error().message.find("No such thing"), std::string::npos) << other.error().message;
}

TEST_F(EngineClient, create_whose_answer_is_lost_finds_its_container_the_next_time) {
  bool made = false;
  on("POST /containers/create", [&](const auto&, const auto& connection) {
    if (made) {
      connection->send(http(409, R"({"message":"the name is in use"})"));
    } else {
      made = true;
      connection->cut();
    }
  });
  there_is(R"({"org.hal9000.id":"w1","org.hal9000.instance":"me"})");
  start();
  const auto lost = create();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::unavailable);
  const auto found = create();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->value, "c7");
}

TEST_F(EngineClient, remove_waits_where_someone_else_removes_it) {
  start();
  Connection waiting;
  on("DELETE /containers/c1", http(409, R"({"message":"removal is already in progress"})"));
  on("POST /containers/c1/wait", [&waiting](const auto&, const auto& connection) { waiting = connection; });
  std::optional<Result<void>> result;
  client_->remove(ContainerId{"c1"}, true, [&](Result<void> r) { result = std::move(r); });
  ASSERT_TRUE(wait([&] { return waiting != nullptr; }));
  EXPECT_FALSE(result.has_value());
  waiting->send(http(200, R"({"StatusCode":0})"));
  ASSERT_TRUE(wait([&] { return result.has_value(); }));
  EXPECT_TRUE(*result);

  on("POST /containers/c1/wait", http(404, ""));
  EXPECT_TRUE(remove(true));
  const auto running = remove(false);
  ASSERT_FALSE(running);
  EXPECT_EQ(running.error().code, Errc::busy);
}

TEST_F(EngineClient, list_leaves_out_what_vanishes_meanwhile) {
  on("GET /containers/json", http(200, R"([{"Id":"c1"},{"Id":"gone"},{"Id":"c2"}])"));
  on("GET /containers/c2/json", http(200, R"({"Id":"c2"})"));
  start();
  const auto all = await<std::vector<ContainerInfo>>([&](auto done) { client_->list({{"k", "v"}}, done); });
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(all->size(), 2U);
  const auto request = std::ranges::find_if(
      server_.seen(), [](const auto& seen) { return seen.find("/containers/json?") != std::string::npos; });
  ASSERT_NE(request, server_.seen().end());
  EXPECT_TRUE(request->ends_with(curl::escape(R"({"label":["k=v","org.hal9000.instance=me"]})"))) << *request;
}

TEST_F(EngineClient, list_asks_few_at_a_time_and_fails_once) {
  std::string ids;
  for (int i = 0; i < 40; ++i) {
    ids += (i > 0 ? ",{\"Id\":\"n" : "{\"Id\":\"n") + std::to_string(i) + "\"}";
    on("GET /containers/n" + std::to_string(i) + "/json", i < 20 ? http(200, R"({"Id":"n"})") : http(500, ""));
  }
  on("GET /containers/json", http(200, "[" + ids + "]"));
  start();
  const auto all = await<std::vector<ContainerInfo>>([&](auto done) { client_->list({}, done); });
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().code, Errc::internal);
  EXPECT_LE(server_.seen().size(), 5 + 1 + 20 + 8U) << "went on after the failure";
}

TEST_F(EngineClient, calls_in_flight_are_bounded) {
  on("GET /containers/c1/json", [](const auto&, const auto&) {});
  start();
  for (std::size_t i = 0; i < Calls::max_in_flight; ++i) {
    client_->inspect(ContainerId{"c1"}, [](const Result<ContainerInfo>&) { ADD_FAILURE() << "answered"; });
  }
  const auto result = inspect();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::limit);
  client_.reset();
  test::run_ready(loop_);
}

TEST_F(EngineClient, may_be_destroyed_in_a_completion) {
  start();
  bool called = false;
  client_->inspect(ContainerId{"c1"}, [&](const Result<ContainerInfo>&) {
    called = true;
    client_.reset();
  });
  client_->inspect(ContainerId{"c1"}, [](const Result<ContainerInfo>&) { ADD_FAILURE() << "after destruction"; });
  ASSERT_TRUE(wait([&] { return called; }));
  test::run_ready(loop_);
}

}  // namespace
}  // namespace hal::engine
