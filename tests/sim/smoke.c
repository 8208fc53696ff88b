#include "sim/sim.h"
#include <stdio.h>
static int64_t c0, c1; static char link[4000]; static size_t linklen; static int cons, msgs; static int64_t mid;
static int64_t conf;
static void create(struct sim_node *n, void *arg){ (void)arg; SIM_CHECK(simplex_agent_create(n->a,0,&c0)==0);}
static void join(struct sim_node *n, void *arg){ (void)arg; SIM_CHECK(simplex_agent_join(n->a,sx_bytes(link,linklen),sx_str("J"),0,&c1)==0);}
static void allow(struct sim_node *n, void *arg){ (void)arg; SIM_CHECK(simplex_agent_allow(n->a,c0,conf,sx_str("I"))==0);}
static void send(struct sim_node *n, void *arg){ SIM_CHECK(simplex_agent_send(n->a,*(int64_t*)arg,sx_str("hello"),0,&mid)==0);}
static void pull(struct sim_node *n, void *arg){ simplex_event *ev; (void)arg;
 while (simplex_agent_next_event(n->a,0,&ev)==0){ sim_trace("%u %s", n->n, simplex_event_json(ev));
  int k=simplex_event_kind(ev);
  if(k==SIMPLEX_EV_INV){simplex_bytes d=simplex_event_data(ev);memcpy(link,d.ptr,d.len);linklen=d.len;}
  if(k==SIMPLEX_EV_CONF)conf=simplex_event_conf(ev);
  if(k==SIMPLEX_EV_CON)cons++;
  if(k==SIMPLEX_EV_MSG){msgs++;SIM_CHECK(simplex_agent_ack(n->a,simplex_event_conn(ev),simplex_event_msg_id(ev))==0);}
  simplex_event_free(ev);} }
static bool pump(void){ for(unsigned i=0;i<sim.n_nodes;i++) if(sim.nodes[i].a) sim_app(&sim.nodes[i],pull,NULL); return false;}
static bool inv(void){pump();return linklen>0;} static bool cf(void){pump();return conf>0;} static bool con(void){pump();return cons==2;} static int want; static bool ms(void){pump();return msgs==want;}
int main(int argc,char**argv){ int N=argc>1?atoi(argv[1]):1; sim.trace=argc>2;
 for(int i=0;i<N;i++){ c0=c1=linklen=cons=msgs=conf=0;want=0; sim_net_cfg.latency=100;
 sim_open((uint64_t)i,2,2); SIM_CHECK(sim_start(&sim.nodes[0])==0);SIM_CHECK(sim_start(&sim.nodes[1])==0);
 sim_app(&sim.nodes[0],create,NULL); SIM_CHECK(sim_run(60000,inv)); sim_app(&sim.nodes[1],join,NULL); SIM_CHECK(sim_run(60000,cf)); sim_app(&sim.nodes[0],allow,NULL); SIM_CHECK(sim_run(60000,con));
 for(int k=0;k<10;k++){ want++; sim_app(&sim.nodes[k&1],send,(k&1)?&c1:&c0); SIM_CHECK(sim_run(60000,ms)); }
 sim_run(10000,ms);
 sim_close(); }
 sim_end(); return 0; }
