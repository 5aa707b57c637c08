#include "hub_support.hpp"

#include <map>
#include <random>

/**
 * Many clients do random things to servers that answer late, out of order, twice, or die. Every answer carries the
 * session and the request it was made for, so that one which reaches another is seen.
 */
namespace hal::hub::test {
namespace {

using hal::test::run_until;

constexpr int clients_at_once = 8;
constexpr int steps = 1500;

/** One client and what it waits for. */
struct Actor {
  std::unique_ptr<RelayPeer> peer;
  std::string name;
  bool initialized = false;
  int next_id = 0;
  std::map<std::string, int> waiting;  ///< raw id: serial
  std::map<std::string, int> cancelled;
};

class Interleaving : public HubTest, public testing::WithParamInterface<link::ServerMode> {
 public:
  void play(unsigned seed) {
    random.seed(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    add_server("s", GetParam());
    add_worker("w", {"s"});
    for (int i = 0; i < steps && !HasFailure(); ++i) {
      step();
      turn();
    }
    drain();
    EXPECT_GT(answered, steps / 20);
  }

 private:
  std::size_t choose(std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(random); }
  bool chance(int percent) { return choose(100) < static_cast<std::size_t>(percent); }

  void turn() {
    hal::test::run_ready(loop);
    while (served < told<link::InstanceRequest>().size()) {
      ++served;
      auto& process = start_process("s");
      process.on_message = [this, &process](const Json& message) { on_server_message(process, message); };
    }
    for (auto& actor : actors) {
      check(actor);
    }
    std::erase_if(actors, [](const Actor& actor) { return actor.peer->closed; });
  }

  void step() {
    const auto action = choose(100);
    if (actors.size() < clients_at_once && action < 15) {
      return add_actor();
    }
    if (actors.empty()) {
      return;
    }
    auto& actor = actors[choose(actors.size())];
    if (action < 55) {
      call(actor);
    } else if (action < 65) {
      cancel(actor);
    } else if (action < 90) {
      answer_some();
    } else if (action < 95) {
      actor.peer->hang_up();
      actors.erase(actors.begin() + (&actor - actors.data()));
    } else if (action < 97) {
      crash_one();
    }
  }

  void add_actor() {
    Actor actor;
    actor.peer = connect("w");
    actor.name = "c" + std::to_string(++made);
    actor.peer->initialize("s");
    actor.waiting["0"] = -1;
    actor.next_id = 1;
    actors.push_back(std::move(actor));
  }

  void call(Actor& actor) {
    // All clients use the same ids, of both types.
    const Json id = chance(50) ? Json(actor.next_id) : Json(std::to_string(actor.next_id));
    ++actor.next_id;
    const int serial = ++serials;
    actor.waiting[id.dump()] = serial;
    actor.peer->send(
        request(id, "tools/call", {{"who", actor.name}, {"serial", serial}, {"_meta", {{"progressToken", id}}}}));
  }

  void cancel(Actor& actor) {
    if (actor.waiting.empty() || actor.waiting.begin()->second < 0) {
      return;
    }
    const auto chosen = std::next(actor.waiting.begin(), static_cast<long>(choose(actor.waiting.size())));
    if (chosen->second < 0) {
      return;
    }
    actor.peer->notify("notifications/cancelled", {{"requestId", Json::parse(chosen->first)}});
    actor.cancelled.insert(*chosen);
    actor.waiting.erase(chosen);
  }

  struct Open {
    FakeProcess* process;
    Json request;
  };

  void on_server_message(FakeProcess& process, const Json& message) {
    if (message.value("method", "") == "tools/call") {
      open.push_back({&process, message});
    }
  }

  void answer_some() {
    for (auto count = choose(6); count > 0 && !open.empty(); --count) {
      const auto at = open.begin() + static_cast<long>(choose(open.size()));
      const auto one = *at;
      open.erase(at);
      const auto& params = one.request["params"];
      if (one.process->closed) {
        continue;
      }
      one.process->send(notification(
          "notifications/progress",
          {{"progressToken", params["_meta"]["progressToken"]}, {"who", params["who"]}, {"serial", params["serial"]}}));
      one.process->answer(one.request, {{"who", params["who"]}, {"serial", params["serial"]}});
      if (chance(5)) {
        one.process->answer(one.request, {{"who", "twice"}});
      }
      if (chance(5)) {
        one.process->send_raw("garbage " + std::to_string(serials));
      }
    }
  }

  void crash_one() {
    std::vector<FakeProcess*> alive;
    for (const auto& process : processes) {
      if (!process->closed && !dead.contains(process.get())) {
        alive.push_back(process.get());
      }
    }
    if (!alive.empty()) {
      auto* process = alive[choose(alive.size())];
      dead.insert(process);
      std::erase_if(open, [process](const Open& one) { return one.process == process; });
      crash(*process, "s", "exited");
    }
  }

  void check(Actor& actor) {
    for (; !actor.peer->lines.empty(); actor.peer->lines.pop_front()) {
      const auto message = Json::parse(actor.peer->lines.front());
      if (message.value("method", "") == "notifications/progress") {
        const auto& params = message["params"];
        EXPECT_EQ(params["who"], actor.name);
        const auto waits = actor.waiting.find(params["progressToken"].dump());
        if (waits != actor.waiting.end()) {
          EXPECT_EQ(params["serial"], waits->second);
        } else {
          EXPECT_TRUE(actor.cancelled.contains(params["progressToken"].dump())) << message;
        }
        continue;
      }
      if (message.contains("method")) {
        continue;
      }
      on_answer(actor, message);
    }
  }

  void on_answer(Actor& actor, const Json& message) {
    const auto id = message["id"].dump();
    const auto waits = actor.waiting.find(id);
    if (waits == actor.waiting.end()) {  // it may cross with the cancellation, but must be its own
      ASSERT_TRUE(actor.cancelled.contains(id)) << actor.name << " did not ask for " << message;
      EXPECT_EQ(message.value("/result/who"_json_pointer, actor.name), actor.name);
      return;
    }
    const int serial = waits->second;
    actor.waiting.erase(waits);
    if (message.contains("error")) {
      EXPECT_EQ(message["error"]["code"], -32603) << message;
      return;
    }
    if (serial < 0) {
      actor.peer->notify("notifications/initialized");
      return;
    }
    ++answered;
    EXPECT_EQ(message["result"]["who"], actor.name);
    EXPECT_EQ(message["result"]["serial"], serial);
  }

  /** In the end everybody has everything answered. */
  void drain() {
    for (int rounds = 0; rounds < 1000 && !HasFailure(); ++rounds) {
      answer_some();
      turn();
      if (std::all_of(actors.begin(), actors.end(), [](const Actor& actor) { return actor.waiting.empty(); })) {
        return;
      }
    }
    for (const auto& actor : actors) {
      for (const auto& [id, serial] : actor.waiting) {
        ADD_FAILURE() << actor.name << " still waits for " << id << " (" << serial << ")";
      }
    }
  }

  std::mt19937 random;
  std::vector<Actor> actors;
  std::vector<Open> open;
  std::set<FakeProcess*> dead;
  std::size_t served = 0;
  int made = 0;
  int serials = 0;
  int answered = 0;
};

TEST_P(Interleaving, no_answer_ever_reaches_the_wrong_session) {
  const unsigned seed = std::random_device{}();
  RecordProperty("seed", std::to_string(seed));
  play(seed);
}

TEST_P(Interleaving, no_answer_ever_reaches_the_wrong_session_with_a_fixed_seed) {
  play(9000);
}

INSTANTIATE_TEST_SUITE_P(Modes, Interleaving, testing::Values(link::ServerMode::shared, link::ServerMode::session),
                         [](const auto& mode) {
                           return mode.param == link::ServerMode::shared ? "shared" : "session";
                         });

}  // namespace
}  // namespace hal::hub::test
