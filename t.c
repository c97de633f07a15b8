#include "wal.h"
#include <stdio.h>
#include <stdlib.h>
#include <assert.h>
#include <errno.h>
static void lg(void*a,enum wal_log_level l,const char*m){fprintf(stderr,"%d %s\n",l,m);}
int main(void){
 struct wal_options o={.segment_entries=10,.sync=WAL_SYNC_ASYNC,.log=lg}; struct wal_store*s; struct wal_stream*st; struct wal_error e; uint64_t n,off,off2;
 system("rm -rf /tmp/lead/smoke/st");
 assert(!wal_store_open("/tmp/lead/smoke/st",&o,&s,&e));
 assert(!wal_stream_open(s,"a",WAL_CREATE,&st,&e));
 for(int i=0;i<95;i++)assert(!wal_stream_append(st,"hello",5,0,NULL));
 assert(!wal_stream_offset_of(st,50,&off));
 assert(!wal_stream_prune(st,35,&n)); printf("pruned %lu\n",n);
 assert(!wal_stream_offset_of(st,50,&off2)); assert(off==off2);
 uint64_t f,nx; wal_stream_bounds(st,&f,&nx,NULL); printf("%lu %lu\n",f,nx);
 struct wal_buf b={0}; printf("get 5: %d get 30: %d\n",wal_stream_get(st,5,&b),wal_stream_get(st,30,&b));
 assert(wal_stream_open(s,"shard_00",WAL_CREATE,&st,&e)==-EPERM); puts(e.message);
 printf("cp %d\n",wal_checkpoint_create(s,"x",1,0,&e));
 assert(!wal_stream_open(s,"a",WAL_CREATE,&st,&e));
 assert(!wal_stream_rotate(st)); assert(!wal_stream_prune(st,1000,&n)); printf("pruned %lu\n",n);
 wal_store_close(s);
 assert(!wal_store_open("/tmp/lead/smoke/st",&o,&s,&e)); assert(!wal_stream_open(s,"a",0,&st,&e)); wal_stream_bounds(st,&f,&nx,NULL); printf("%lu %lu\n",f,nx);
 assert(!wal_stream_append(st,"hello",5,0,&n)); printf("id %lu\n",n);
 assert(!wal_store_close(s));
 o.shards=12; system("rm -rf /tmp/lead/smoke/sh"); assert(!wal_store_open("/tmp/lead/smoke/sh",&o,&s,&e));
 struct wal_keyed_entry ke[5]={{"a",1,"x",1},{"bb",2,"y",1},{"a",1,"z",1},{"ccc",3,"q",1},{"bb",2,"w",1}};
 assert(!wal_shard_append_batch(s,ke,5,0)); for(int i=0;i<5;i++)printf("%d:%u/%lu ",ke[i].result,ke[i].shard,ke[i].id); puts("");
 printf("cp %d\n",wal_checkpoint_create(s,"x",1,0,&e));
 assert(!wal_store_close(s));
 o.shards=11; assert(wal_store_open("/tmp/lead/smoke/sh",&o,&s,&e)==-EINVAL); puts(e.message);
 o.shards=0; assert(!wal_store_open("/tmp/lead/smoke/sh",&o,&s,&e)); printf("%u\n",wal_store_shards(s)); assert(wal_stream_delete(s,"shard_03")==-EPERM); assert(!wal_store_close(s));
}
